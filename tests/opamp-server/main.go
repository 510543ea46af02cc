// Command opamp-server is an OpAMP server for tests: the reference library, listening on loopback only, scripted by
// JSON lines on stdin. It prints each message as a JSON line on stdout, and ends with its stdin.
//
// It follows the specification without a command: it offers a config or connection settings as long as the agent reports
// another hash, and asks for the full state when a sequence number is missing. Commands have the form {"do": "...", ...}:
//
//	offer        files, hash, always: a config, from now on; always: whatever hash the agent reports
//	connection   hash, endpoint, headers, heartbeat, cert, key, insecure: connection settings, from now on
//	restart, full, components, uid (uid: 32 hex digits)    once, in the next answer
//	unavailable (retry_ns), bad_request, unknown           an error instead, times: how often
//	status       code, retry_after, times: a bare status instead
//	capabilities value: of the server; 0 leaves them out
//	require      header, token: 401 at the listener with the number on, unless that header has this value
//	listen       cert, key, client_ca (paths): one more listener, with TLS if there is a certificate
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"

	"github.com/open-telemetry/opamp-go/protobufs"
	"github.com/open-telemetry/opamp-go/server"
	"github.com/open-telemetry/opamp-go/server/types"
	"google.golang.org/protobuf/encoding/protojson"
)

type command struct {
	Do         string            `json:"do"`
	Files      map[string]string `json:"files"`
	Hash       string            `json:"hash"`
	Always     bool              `json:"always"`
	Endpoint   string            `json:"endpoint"`
	Headers    map[string]string `json:"headers"`
	Heartbeat  uint64            `json:"heartbeat"`
	Cert       string            `json:"cert"`
	Key        string            `json:"key"`
	ClientCA   string            `json:"client_ca"`
	Insecure   bool              `json:"insecure"`
	UID        string            `json:"uid"`
	RetryNs    uint64            `json:"retry_ns"`
	Times      int               `json:"times"`
	Code       int               `json:"code"`
	RetryAfter string            `json:"retry_after"`
	Value      json.Number       `json:"value"`
	Header     string            `json:"header"`
	Token      string            `json:"token"`
	On         int               `json:"on"`
}

// agent is the server's memory of one instance uid.
type agent struct {
	sequence       uint64
	configHash     []byte
	connectionHash []byte
}

type scripted struct {
	mu           sync.Mutex
	out          *json.Encoder
	agents       map[string]*agent
	config       *protobufs.AgentRemoteConfig
	always       bool
	connection   *protobufs.ConnectionSettingsOffers
	once         []func(*protobufs.ServerToAgent)
	errors       []*protobufs.ServerErrorResponse
	statuses     []command
	required     map[int]command
	capabilities uint64
	listeners    int
}

// request holds facts of the middleware that the library does not pass on.
type request struct {
	bytes    int
	headers  map[string]string
	listener int
}

type key struct{}

func main() {
	s := &scripted{
		out:          json.NewEncoder(os.Stdout),
		agents:       map[string]*agent{},
		required:     map[int]command{},
		capabilities: 0x27,
	}
	s.listen(command{})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			log.Fatalf("command %q: %v", lines.Text(), err)
		}
		s.take(c)
	}
}

func (s *scripted) say(event string, more map[string]any) {
	more["event"] = event
	if err := s.out.Encode(more); err != nil {
		os.Exit(1)
	}
}

func (s *scripted) take(c command) {
	if c.Do == "listen" {
		s.listen(c)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := func(change func(*protobufs.ServerToAgent)) { s.once = append(s.once, change) }
	fail := func(kind protobufs.ServerErrorResponseType, words string) {
		response := &protobufs.ServerErrorResponse{Type: kind, ErrorMessage: words}
		if c.RetryNs > 0 {
			info := &protobufs.RetryInfo{RetryAfterNanoseconds: c.RetryNs}
			response.Details = &protobufs.ServerErrorResponse_RetryInfo{RetryInfo: info}
		}
		for range max(c.Times, 1) {
			s.errors = append(s.errors, response)
		}
	}
	switch c.Do {
	case "offer":
		files := map[string]*protobufs.AgentConfigFile{}
		for name, body := range c.Files {
			files[name] = &protobufs.AgentConfigFile{Body: []byte(body), ContentType: "text/yaml"}
		}
		s.always = c.Always
		s.config = &protobufs.AgentRemoteConfig{
			Config:     &protobufs.AgentConfigMap{ConfigMap: files},
			ConfigHash: []byte(c.Hash),
		}
	case "connection":
		s.connection = &protobufs.ConnectionSettingsOffers{Hash: []byte(c.Hash), Opamp: settings(c)}
	case "restart":
		next(func(m *protobufs.ServerToAgent) { m.Command = &protobufs.ServerToAgentCommand{} })
	case "full":
		next(func(m *protobufs.ServerToAgent) { m.Flags |= 1 })
	case "components":
		next(func(m *protobufs.ServerToAgent) { m.Flags |= 2 })
	case "uid":
		uid, err := hex.DecodeString(c.UID)
		if err != nil {
			log.Fatal(err)
		}
		identification := &protobufs.AgentIdentification{NewInstanceUid: uid}
		next(func(m *protobufs.ServerToAgent) { m.AgentIdentification = identification })
	case "unavailable":
		fail(protobufs.ServerErrorResponseType_ServerErrorResponseType_Unavailable, "busy")
	case "bad_request":
		fail(protobufs.ServerErrorResponseType_ServerErrorResponseType_BadRequest, "not understood")
	case "unknown":
		fail(protobufs.ServerErrorResponseType_ServerErrorResponseType_Unknown, "no idea")
	case "status":
		for range max(c.Times, 1) {
			s.statuses = append(s.statuses, c)
		}
	case "capabilities":
		value, err := strconv.ParseUint(c.Value.String(), 0, 64)
		if err != nil {
			log.Fatal(err)
		}
		s.capabilities = value
	case "require":
		s.required[c.On] = c
	default:
		log.Fatalf("unknown command %q", c.Do)
	}
	s.say("done", map[string]any{"do": c.Do})
}

func settings(c command) *protobufs.OpAMPConnectionSettings {
	settings := &protobufs.OpAMPConnectionSettings{
		DestinationEndpoint:      c.Endpoint,
		HeartbeatIntervalSeconds: c.Heartbeat,
	}
	if len(c.Headers) > 0 {
		settings.Headers = &protobufs.Headers{}
		for name, value := range c.Headers {
			header := &protobufs.Header{Key: name, Value: value}
			settings.Headers.Headers = append(settings.Headers.Headers, header)
		}
	}
	if c.Cert != "" {
		settings.Certificate = &protobufs.TLSCertificate{Cert: []byte(c.Cert), PrivateKey: []byte(c.Key)}
	}
	if c.Insecure {
		settings.Tls = &protobufs.TLSConnectionSettings{InsecureSkipVerify: true}
	}
	return settings
}

func (s *scripted) listen(c command) {
	number := s.listeners
	s.listeners++
	start := server.StartSettings{ListenEndpoint: "127.0.0.1:0", TLSConfig: tlsConfig(c)}
	start.Callbacks = types.Callbacks{
		OnConnecting: func(*http.Request) types.ConnectionResponse {
			return types.ConnectionResponse{
				Accept:              true,
				ConnectionCallbacks: types.ConnectionCallbacks{OnMessage: s.onMessage},
			}
		},
	}
	start.HTTPMiddleware = func(next http.Handler) http.Handler { return s.middleware(next, number) }
	listener := server.New(nil)
	if err := listener.Start(start); err != nil {
		log.Fatal(err)
	}
	scheme := "http"
	if start.TLSConfig != nil {
		scheme = "https"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say("listening", map[string]any{"listener": number, "url": scheme + "://" + listener.Addr().String() + "/v1/opamp"})
}

func tlsConfig(c command) *tls.Config {
	if c.Cert == "" {
		return nil
	}
	certificate, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if c.ClientCA != "" {
		pem, err := os.ReadFile(c.ClientCA)
		if err != nil {
			log.Fatal(err)
		}
		config.ClientCAs = x509.NewCertPool()
		config.ClientCAs.AppendCertsFromPEM(pem)
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config
}

// middleware sees requests before the library does: it counts bytes and gives the answers that are not OpAMP.
func (s *scripted) middleware(next http.Handler, listener int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		seen := request{bytes: len(body), headers: map[string]string{}, listener: listener}
		for name := range r.Header {
			seen.headers[name] = r.Header.Get(name)
		}
		if code := s.refusal(w, r, seen); code != 0 {
			w.WriteHeader(code)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, seen)))
	})
}

func (s *scripted) refusal(w http.ResponseWriter, r *http.Request, seen request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := 0
	if required, ok := s.required[seen.listener]; ok && r.Header.Get(required.Header) != required.Token {
		code = http.StatusUnauthorized
	} else if len(s.statuses) > 0 {
		code = s.statuses[0].Code
		if after := s.statuses[0].RetryAfter; after != "" {
			w.Header().Set("Retry-After", after)
		}
		s.statuses = s.statuses[1:]
	}
	if code != 0 {
		s.say("refused", map[string]any{"code": code, "bytes": seen.bytes, "listener": seen.listener})
	}
	return code
}

func (s *scripted) onMessage(ctx context.Context, _ types.Connection, m *protobufs.AgentToServer) *protobufs.ServerToAgent {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := ctx.Value(key{}).(request)
	text, err := protojson.Marshal(m)
	if err != nil {
		log.Fatal(err)
	}
	s.say("message", map[string]any{
		"bytes": seen.bytes, "listener": seen.listener, "headers": seen.headers, "message": json.RawMessage(text),
	})
	answer := &protobufs.ServerToAgent{Capabilities: s.capabilities}
	if len(s.errors) > 0 {
		answer.Capabilities = 0
		answer.ErrorResponse, s.errors = s.errors[0], s.errors[1:]
		return answer
	}
	known, ok := s.agents[string(m.InstanceUid)]
	if !ok {
		known = &agent{}
		s.agents[string(m.InstanceUid)] = known
	}
	if m.SequenceNum != known.sequence+1 && m.AgentDescription == nil {
		answer.Flags |= uint64(protobufs.ServerToAgentFlags_ServerToAgentFlags_ReportFullState)
	}
	known.sequence = m.SequenceNum
	if status := m.RemoteConfigStatus; status != nil {
		known.configHash = status.LastRemoteConfigHash
	}
	if status := m.ConnectionSettingsStatus; status != nil {
		known.connectionHash = status.LastConnectionSettingsHash
	}
	if m.AgentDisconnect != nil {
		return answer
	}
	if s.config != nil && (s.always || !bytes.Equal(known.configHash, s.config.ConfigHash)) {
		answer.RemoteConfig = s.config
	}
	if s.connection != nil && !bytes.Equal(known.connectionHash, s.connection.Hash) {
		answer.ConnectionSettings = s.connection
	}
	if len(s.once) > 0 {
		s.once[0](answer)
		s.once = s.once[1:]
	}
	return answer
}
