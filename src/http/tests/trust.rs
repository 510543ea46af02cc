//! Which certificates TLS trusts, and which it shows.

use std::io::Write;
use std::net::Shutdown;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::super::test_server::{Answer, Server};
use super::super::wire::CUT;
use super::*;

/// A certificate authority that signs certificates for tests.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(crate) struct Identity {
    cert: String,
    key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Plant CA");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn sign(&self, change: impl Fn(&mut CertificateParams)) -> Identity {
        let names = vec!["127.0.0.1".to_owned(), "server.test".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Identity { cert: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// A server that answers each request over TLS with `answer`. It ends TLS in order unless `torn` is set.
pub(crate) fn tls_server(
    identity: &Identity,
    clients: Option<&Authority>,
    answer: &'static str,
    torn: bool,
) -> Listening {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(identity.cert.as_bytes());
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let made = Arc::new(builder.with_single_cert(chain, key).unwrap());
    Listening::new(move |stream| {
        let connection = ServerConnection::new(made.clone()).unwrap();
        let mut tls = StreamOwned::new(connection, stream);
        if let Err(refused) = read_head(&mut tls) {
            // Closing with the request unread would send a reset. The client then loses data that it has not read,
            // which on Windows is the alert with the reason.
            tls.sock.shutdown(Shutdown::Write)?;
            std::io::copy(&mut tls.sock, &mut std::io::sink())?;
            return Err(refused);
        }
        tls.write_all(answer.as_bytes())?;
        if !torn {
            tls.conn.send_close_notify();
        }
        tls.flush()?;
        tls.sock.shutdown(Shutdown::Write)
    })
}

pub(crate) fn trusting(ca_file: PathBuf) -> HttpSettings {
    HttpSettings { ca_file: Some(ca_file), ..settings() }
}

fn refused(settings: &HttpSettings, server: &Listening) -> String {
    let url = format!("https://{}/v1", server.addr);
    let error = fetch(settings, &url).unwrap_err();
    assert_eq!(error.kind().word(), "tls", "{error}");
    error.to_string().strip_prefix(&format!("{url}: ")).unwrap().to_owned()
}

#[test]
fn a_private_ca_is_trusted_only_when_the_settings_name_it() {
    let dir = Dir::new();
    let authority = Authority::new();
    let server = tls_server(&authority.sign(|_| ()), None, GOOD, false);

    let response = fetch(&trusting(dir.write("ca.pem", &authority.pem())), format!("https://{}/", server.addr));
    let traffic = response.unwrap().traffic;
    assert!(traffic.received > 500, "the handshake counts: {traffic:?}");

    assert_eq!(
        refused(&settings(), &server),
        "certificate is not trusted: its CA \"Plant CA\" is unknown, and the server sends no intermediate certificate"
    );
    // Another CA, with the same name as all CAs in these tests.
    let other = trusting(dir.write("other.pem", &Authority::new().pem()));
    assert_eq!(
        refused(&other, &server),
        "certificate is not trusted: its CA \"Plant CA\" has another key than the trusted one of that name"
    );
    let untrusted = fetch(&other, format!("https://{}/", server.addr)).unwrap_err();
    assert!(matches!(untrusted, HttpError::Untrusted { ca_file, .. } if ca_file == Some(dir.path("other.pem"))));
}

#[test]
fn a_certificate_for_another_name_or_time_is_refused() {
    let dir = Dir::new();
    let authority = Authority::new();
    let trusting = trusting(dir.write("ca.pem", &authority.pem()));
    let said = |change: fn(&mut CertificateParams)| {
        refused(&trusting, &tls_server(&authority.sign(change), None, GOOD, false))
    };
    let expired = said(|cert| cert.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let words = "certificate has expired, or this host's clock is wrong: it was valid until 2020-01-01T00:00:00Z, and here it is 2";
    assert!(expired.starts_with(words), "{expired}");
    let early = said(|cert| cert.not_before = rcgen::date_time_ymd(2999, 1, 1));
    let words = "certificate is not valid yet, or this host's clock is wrong: it is valid from 2999-01-01T00:00:00Z, and here it is 2";
    assert!(early.starts_with(words), "{early}");
    let other = said(|cert| {
        cert.subject_alt_names = vec![rcgen::SanType::DnsName("other.test".try_into().unwrap())];
    });
    assert!(other.starts_with("certificate is for another name: "), "{other}");
    assert!(other.contains("other.test"), "{other}");
    let as_name = said(|cert| {
        cert.subject_alt_names = vec![rcgen::SanType::DnsName("127.0.0.1".try_into().unwrap())];
    });
    assert!(as_name.ends_with("; make one with -addext subjectAltName=IP:127.0.0.1"), "{as_name}");
    let nameless = said(|cert| cert.subject_alt_names.clear());
    assert!(nameless.starts_with("certificate has no subject alternative name, and its common name does not count: "));
    assert!(nameless.ends_with("; make one with -addext subjectAltName=IP:127.0.0.1"), "{nameless}");
}

/// A certificate that signs itself and says that it is a CA, as openssl makes it by default.
fn self_signed(change: impl Fn(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "127.0.0.1");
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Identity { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

#[test]
fn a_self_signed_certificate_is_trusted_if_it_is_itself_in_the_file() {
    let dir = Dir::new();
    let ask = |shown: &Identity, trusted: &str| {
        let server = tls_server(shown, None, GOOD, false);
        let settings = trusting(dir.write("ca.pem", trusted));
        let answer = fetch(&settings, format!("https://{}/", server.addr));
        answer.map(|answer| answer.body).map_err(|error| error.to_string())
    };
    let plain = self_signed(|_| ());
    assert_eq!(ask(&plain, &plain.cert).unwrap(), b"ok");
    // Beside others, and with its common name alone, as for curl.
    assert_eq!(ask(&plain, &(Authority::new().pem() + &plain.cert)).unwrap(), b"ok");
    let called = self_signed(|cert| cert.subject_alt_names.clear());
    assert_eq!(ask(&called, &called.cert).unwrap(), b"ok");

    // Another one of the same name, another name, and another time are refused all the same.
    let why = ask(&plain, &self_signed(|_| ()).cert).unwrap_err();
    assert!(why.ends_with("certificate is not trusted: it is self-signed, by \"127.0.0.1\""), "{why}");
    let elsewhere = self_signed(|cert| {
        cert.subject_alt_names = vec![rcgen::SanType::DnsName("other.test".try_into().unwrap())];
    });
    let why = ask(&elsewhere, &elsewhere.cert).unwrap_err();
    assert!(why.contains("certificate is for another name: other.test"), "{why}");
    for change in [
        (|cert: &mut CertificateParams| cert.not_after = rcgen::date_time_ymd(2020, 1, 1))
            as fn(&mut CertificateParams),
        |cert| cert.not_before = rcgen::date_time_ymd(2999, 1, 1),
    ] {
        let bad = self_signed(change);
        let why = ask(&bad, &bad.cert).unwrap_err();
        assert!(why.contains("or this host's clock is wrong"), "{why}");
    }
}

#[test]
fn a_fingerprint_trusts_one_certificate_whatever_it_says() {
    let dir = Dir::new();
    let device = self_signed(|cert| {
        cert.subject_alt_names.clear();
        cert.distinguished_name.push(rcgen::DnType::CommonName, "plc-7");
        cert.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let der = CertificateDer::from_pem_slice(device.cert.as_bytes()).unwrap();
    let fingerprint = super::super::verify::fingerprint(&der);
    let server = tls_server(&device, None, GOOD, false);
    let ask = |fingerprint| {
        let settings = HttpSettings { fingerprint: Some(fingerprint), ..settings() };
        fetch(&settings, format!("https://{}/", server.addr)).map(|answer| answer.body)
    };
    assert_eq!(ask(fingerprint).unwrap(), b"ok");

    let why = ask([0xab; 32]).unwrap_err().to_string();
    let words =
        format!("certificate has the SHA-256 fingerprint {}, and AB:AB:", super::super::verify::hex(&fingerprint));
    assert!(why.contains(&words), "{why}");

    // A certificate that others would trust is another one.
    let authority = Authority::new();
    let good = tls_server(&authority.sign(|_| ()), None, GOOD, false);
    let settings = HttpSettings { fingerprint: Some(fingerprint), ..trusting(dir.write("ca.pem", &authority.pem())) };
    assert_eq!(fetch(&settings, format!("https://{}/", good.addr)).unwrap_err().kind().word(), "tls");
}

#[test]
fn a_client_certificate_is_shown_to_servers_that_want_one() {
    let dir = Dir::new();
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = tls_server(&servers.sign(|_| ()), Some(&clients), GOOD, false);
    let without = trusting(dir.write("ca.pem", &servers.pem()));
    let url = format!("https://{}/", server.addr);
    assert_eq!(fetch(&without, &url).unwrap_err(), HttpError::NoClientCertificate { url: url.clone() });

    let us = clients.sign(|cert| {
        cert.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let with = HttpSettings {
        client_cert_file: Some(dir.write("cert.pem", &us.cert)),
        client_key_file: Some(dir.write("key.pem", &us.key)),
        ..without
    };
    assert_eq!(fetch(&with, &url).unwrap().body, b"ok");

    // A certificate of an unknown CA.
    let stranger = Authority::new().sign(|_| ());
    let strange = HttpSettings {
        client_cert_file: Some(dir.write("strange.pem", &stranger.cert)),
        client_key_file: Some(dir.write("strange.key", &stranger.key)),
        ..with.clone()
    };
    let said = refused(&strange, &server);
    assert!(said.starts_with("server ended TLS: "), "{said}");

    // A key of another certificate is reported with its file.
    dir.write("key.pem", &stranger.key);
    let said = fetch(&with, &url).unwrap_err().to_string();
    assert!(said.contains("key.pem: does not fit "), "{said}");
    dir.write("key.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let said = fetch(&with, &url).unwrap_err().to_string();
    assert!(said.contains("key.pem: no private key in PEM; an encrypted one"), "{said}");
}

#[test]
fn certificates_are_read_again_when_their_file_changes_and_only_then() {
    let dir = Dir::new();
    let (old, new) = (Authority::new(), Authority::new());
    let server = tls_server(&new.sign(|_| ()), None, GOOD, false);
    let client = Client::new(&trusting(dir.path("ca.pem"))).unwrap();
    let ask = || send(&client, &get(format!("https://{}/", server.addr)));

    let said = ask().unwrap_err().to_string();
    assert!(said.contains("ca.pem: cannot read: "), "{said}");
    dir.write("ca.pem", "none in here");
    let said = ask().unwrap_err().to_string();
    assert!(said.ends_with("ca.pem: has no certificate in PEM"), "{said}");
    // In one line, as a variable has it. The message does not repeat the text.
    dir.write("ca.pem", &old.pem().replace(['\r', '\n'], ""));
    let said = ask().unwrap_err().to_string();
    assert!(
        said.ends_with("ca.pem: not valid PEM: -----BEGIN and -----END need a line each, with whole base64 in between")
    );
    // With a mark, line ends of Windows and the indentation of YAML.
    dir.write("ca.pem", &format!("\u{feff}    {}", new.pem().trim_end().replace('\r', "").replace('\n', "\r\n    ")));
    assert_eq!(ask().unwrap().body, b"ok");
    dir.write("ca.pem", &old.pem());
    assert_eq!(ask().unwrap_err().kind().word(), "tls");
    dir.write("ca.pem", &(old.pem() + &new.pem()));
    assert_eq!(ask().unwrap().body, b"ok");

    let config = || client.built.lock().unwrap().tls.config();
    let before = config();
    assert_eq!(ask().unwrap().body, b"ok");
    assert!(Arc::ptr_eq(&config(), &before), "the bundle is not parsed again");
    assert_eq!(client.built.lock().unwrap().agents.len(), 1);
}

#[test]
fn an_unorderly_end_of_tls_is_not_the_end_of_a_body() {
    let dir = Dir::new();
    let authority = Authority::new();
    let trusting = trusting(dir.write("ca.pem", &authority.pem()));
    // The answer has no length, so only the end of TLS marks the end of the body.
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nreceivers:\n";
    let ask = |torn| {
        let server = tls_server(&authority.sign(|_| ()), None, answer, torn);
        fetch(&trusting, format!("https://{}/", server.addr)).map(|response| response.body)
    };
    assert_eq!(ask(false).unwrap(), b"receivers:\n");
    assert!(ask(true).unwrap_err().to_string().ends_with(CUT));
}

#[test]
fn tls_to_a_server_without_tls_is_reported() {
    let server = Server::new();
    let url = server.url().replace("http://", "https://");
    let error = fetch(&impatient(), url).unwrap_err();
    // This server waits for the end of a head that never comes.
    assert_eq!(error.kind().word(), "timeout", "{error}");

    let plain = Listening::new(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    assert_eq!(refused(&settings(), &plain), "answer is not TLS; is this an http:// server?");
}

#[test]
fn a_redirect_to_another_server_takes_no_client_certificate_along() {
    let dir = Dir::new();
    let authority = Authority::new();
    let identity = authority.sign(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let settings = HttpSettings {
        client_cert_file: Some(dir.write("cert.pem", &identity.cert)),
        client_key_file: Some(dir.write("key.pem", &identity.key)),
        ..trusting(dir.write("ca.pem", &authority.pem()))
    };
    let picky = tls_server(&authority.sign(|_| ()), Some(&authority), GOOD, false);
    let open = tls_server(&authority.sign(|_| ()), None, GOOD, false);
    let first = Server::new();
    let client = Client::new(&settings).unwrap();
    let request = Request { redirects: Redirects::Any, ..get(first.url()) };
    let bucket = |server: &Listening| format!("https://{}/a?signature=s3cret", server.addr);

    assert_eq!(send(&client, &get(bucket(&picky))).unwrap().body, b"ok", "it is shown to a server of the settings");
    first.answer(Answer::RedirectTo(bucket(&picky)));
    let refused = send(&client, &request).unwrap_err();
    assert!(matches!(refused, HttpError::NoClientCertificate { .. }), "{refused}");
    assert!(!refused.to_string().contains("s3cret"), "{refused}");

    first.answer(Answer::RedirectTo(bucket(&open)));
    let response = send(&client, &request).unwrap();
    assert_eq!((&*response.body, response.away), (&b"ok"[..], Some(format!("https://{}/a", open.addr))));
    assert!(response.traffic.received > 500, "its bytes count: {:?}", response.traffic);
    let post = Request { method: Method::Post, ..request };
    assert_eq!(send(&client, &post).unwrap_err().kind().word(), "redirect", "only a GET goes to others");
}
