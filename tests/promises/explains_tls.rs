//! When TLS fails, one sentence says why and what to do. The servers and certificates are openssl's.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::host::{Host, config, stderr, stdout};

/// A key that is quick to make.
pub const EC: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// The names of the server in these tests.
pub const NAMED: &str = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";

pub struct Workshop<'a> {
    pub host: &'a Host,
}

/// A server of openssl; it ends with the test.
pub struct Server {
    process: Child,
    pub port: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Workshop<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.host.path(name)
    }

    pub fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(self.path("")).output().unwrap();
        assert!(output.status.success(), "openssl {arguments:?}: {}", stderr(&output));
    }

    /// A certificate that signs itself, as openssl makes it by default: `NAME.pem` and `NAME.key`.
    pub fn self_signed(&self, name: &str, subject: &str, more: &[&str]) {
        let (pem, key) = (format!("{name}.pem"), format!("{name}.key"));
        let files = ["-nodes", "-days", "30", "-keyout", &key, "-out", &pem, "-subj", subject];
        self.openssl(&[&["req", "-x509", "-newkey"], EC, &files, more].concat());
    }

    /// A certificate that the CA has signed: with these extensions, if any.
    pub fn signed(&self, name: &str, ca: &str, key: &[&str], extensions: &str, more: &[&str]) {
        let (request, secret, pem) = (format!("{name}.csr"), format!("{name}.key"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        let files = ["-nodes", "-keyout", &secret, "-out", &request, "-subj", &subject];
        self.openssl(&[&["req", "-newkey"], key, &files].concat());
        let (ca_pem, ca_key, file) = (format!("{ca}.pem"), format!("{ca}.key"), format!("{name}.ext"));
        std::fs::write(self.path(&file), extensions).unwrap();
        let by = ["-CA", &ca_pem, "-CAkey", &ca_key, "-CAcreateserial", "-days", "30", "-out", &pem];
        let extended: &[&str] = if extensions.is_empty() { &[] } else { &["-extfile", &file] };
        self.openssl(&[&["x509", "-req", "-in", &request], &by[..], extended, more].concat());
    }

    pub fn serve(&self, name: &str, more: &[&str]) -> Server {
        let (pem, key) = (format!("{name}.pem"), format!("{name}.key"));
        let command = ["s_server", "-accept", "127.0.0.1:0", "-WWW", "-cert", &pem, "-key", &key];
        let mut process = Command::new("openssl")
            .args(command)
            .args(more)
            .current_dir(self.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| Some(line.strip_prefix("ACCEPT ")?.rsplit(':').next()?.to_owned()));
        std::thread::spawn(move || lines.for_each(drop));
        Server { process, port: port.expect("a server") }
    }

    /// The agent's message about this server.
    fn said(&self, server: &Server, ca_file: Option<&str>) -> String {
        let url = format!("--config-url=https://127.0.0.1:{}/site.yaml", server.port);
        let ca_file = ca_file.map(|name| format!("--config-ca-file={}", self.path(name).display()));
        let arguments: Vec<&str> = ["validate", &url].into_iter().chain(ca_file.as_deref()).collect();
        let output = self.host.otelet(&arguments);
        format!("{}{}", stdout(&output), stderr(&output))
    }

    fn says(&self, name: &str, more: &[&str], ca_file: Option<&str>, words: &[&str]) {
        let said = self.said(&self.serve(name, more), ca_file);
        assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
        // Settings, state, and the sentence.
        assert_eq!(said.lines().count(), 3, "{name}: {said}");
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
#[ignore = "needs openssl: cargo xtask check --real"]
fn each_common_failure_has_its_sentence() {
    let host = Host::new();
    let shop = Workshop { host: &host };
    write(&shop.path("site.yaml"), &config("good"));
    let rsa: &[&str] = &["rsa:2048"];
    shop.self_signed("ca", "/CN=Plant CA", &[]);
    shop.self_signed("other", "/CN=Plant CA", &[]);
    shop.self_signed("self", "/CN=plc-7", &["-addext", "subjectAltName=IP:127.0.0.1"]);
    shop.self_signed("bare", "/CN=plc-7", &[]);
    shop.self_signed("called", "/CN=127.0.0.1", &[]);
    shop.signed("good", "ca", rsa, NAMED, &[]);
    shop.signed("middle", "ca", EC, "basicConstraints=critical,CA:TRUE\n", &[]);
    shop.signed("below", "middle", EC, NAMED, &[]);
    shop.signed("elsewhere", "ca", EC, "subjectAltName=DNS:other.test,DNS:www.other.test\n", &[]);
    shop.signed("nameless", "ca", EC, "basicConstraints=CA:FALSE\n", &[]);
    shop.signed("first", "ca", EC, "", &[]);
    shop.signed("small", "ca", &["rsa:1024"], NAMED, &[]);
    shop.signed("sha1", "ca", EC, NAMED, &["-sha1"]);
    shop.signed("client", "ca", EC, &format!("{NAMED}extendedKeyUsage=clientAuth\n"), &[]);
    shop.signed("authority", "ca", EC, "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:TRUE\n", &[]);
    shop.signed("p521", "ca", &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"], NAMED, &[]);
    let (own, old) = (Some("ca.pem"), "ALL:@SECLEVEL=0");

    shop.says(
        "good",
        &[],
        None,
        &["its CA \"Plant CA\" is unknown", "; to trust it, set config.ca_file to a file with it in PEM"],
    );
    shop.says(
        "good",
        &[],
        Some("other.pem"),
        &["its CA \"Plant CA\" has another key than the trusted one of that name", "add it to config.ca_file "],
    );
    shop.says("below", &[], own, &["and the server sends no intermediate certificate"]);
    shop.says(
        "self",
        &[],
        None,
        &["certificate is not trusted: it is self-signed, by \"plc-7\"; to trust it, set config.ca_file"],
    );
    shop.says("self", &[], own, &["it is self-signed, by \"plc-7\"; to trust it, add it to config.ca_file "]);
    shop.says(
        "bare",
        &[],
        Some("bare.pem"),
        &[
            "certificate has no subject alternative name",
            "\"plc-7\"; make one with -addext subjectAltName=IP:127.0.0.1",
        ],
    );
    shop.says(
        "nameless",
        &[],
        own,
        &["certificate has no subject alternative name", "make one with -addext subjectAltName=IP:127.0.0.1"],
    );
    shop.says(
        "elsewhere",
        &[],
        own,
        &["certificate is for another name: other.test, www.other.test; use a URL with that name"],
    );
    shop.says("first", &[], own, &["make one"]);
    shop.says(
        "small",
        &["-cipher", old],
        own,
        &["certificate has an RSA key of 1024 bits, and at least 2048 are needed"],
    );
    shop.says(
        "sha1",
        &["-cipher", old],
        own,
        &["certificate is signed with SHA-1", "have it signed anew with SHA-256"],
    );
    shop.says("client", &[], own, &["certificate is not for servers", "make one with extendedKeyUsage=serverAuth"]);
    shop.says("authority", &[], own, &["certificate is that of a CA (CA:TRUE)", "basicConstraints=critical,CA:FALSE"]);
    shop.says("p521", &[], own, &["no cipher in common", "not P-521"]);
    shop.says(
        "good",
        &["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
        own,
        &["no cipher in common", "ECDHE (not RSA key exchange)"],
    );
    shop.says("good", &["-tls1_1", "-cipher", old], own, &["no TLS version in common", "TLS 1.2 or 1.3"]);
    for version in ["-tls1_2", "-tls1_3"] {
        let wants = [version, "-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"];
        shop.says(
            "good",
            &wants,
            own,
            &["if it wants a client certificate, set config.client_cert_file and config.client_key_file"],
        );
    }

    // These are good, as for curl: each is itself in the file.
    for name in ["self", "called"] {
        let said = shop.said(&shop.serve(name, &[]), Some(&format!("{name}.pem")));
        assert!(said.contains("takes it"), "{name}: {said}");
    }

    shop.openssl(&["x509", "-in", "ca.pem", "-outform", "der", "-out", "ca.der"]);
    shop.openssl(&["crl2pkcs7", "-nocrl", "-certfile", "ca.pem", "-out", "ca.p7b"]);
    shop.openssl(&["pkcs12", "-export", "-in", "ca.pem", "-inkey", "ca.key", "-passout", "pass:", "-out", "ca.p12"]);
    let server = shop.serve("good", &[]);
    for (file, words) in [
        ("ca.der", "ca.der: is in DER; openssl x509 -inform der -in FILE writes it as PEM"),
        ("ca.p7b", "ca.p7b: is a PKCS#7 bundle; openssl pkcs7 -print_certs -in FILE writes its certificates"),
        ("ca.p12", "ca.p12: is PKCS#12 (.p12, .pfx); openssl pkcs12 -nokeys -in FILE writes its certificates as PEM"),
        ("ca.key", "ca.key: has a private key and no certificate in PEM; is it the file of the key?"),
    ] {
        let said = shop.said(&server, Some(file));
        assert!(said.contains(words), "{said}");
    }
}

#[test]
#[ignore = "needs openssl: cargo xtask check --real"]
fn a_check_trusts_a_device_by_its_certificate_or_its_fingerprint() {
    let host = Host::new();
    let shop = Workshop { host: &host };
    write(&shop.path("health"), "HTTP/1.0 200 OK\r\n\r\nready");
    // A name of its own, as devices make it; the company's CA is another one.
    shop.self_signed("device", "/CN=plc-7", &[]);
    shop.self_signed("called", "/CN=127.0.0.1", &[]);
    shop.self_signed("company", "/CN=Company CA", &[]);
    let (device, called) = (shop.serve("device", &[]), shop.serve("called", &[]));
    let print = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in", "device.pem"])
        .current_dir(shop.path(""))
        .output()
        .unwrap();
    let print = stdout(&print).trim().to_owned();
    let check = |name: &str, server: &Server, trust: &str| {
        format!("{{name: {name}, http: \"https://127.0.0.1:{}/health\", every: 1s{trust}}}", server.port)
    };
    let checks = [
        check("stranger", &device, ""),
        check("printed", &device, &format!(", fingerprint: \"{print}\"")),
        check("other", &device, &format!(", fingerprint: \"{}\"", "ab".repeat(32))),
        check("own", &called, &format!(", ca_file: {}", shop.path("called.pem").display())),
    ];
    host.set("checks", &format!("[{}]", checks.join(", ")));
    host.set("config.ca_file", &shop.path("company.pem").display().to_string());

    let agent = host.agent_running(&config("good"));

    let status = agent.wait_status("all checks", |status| {
        let named = |name: &str| status.checks.iter().any(|check| check.name == name && check.ok.is_some());
        ["stranger", "printed", "other", "own"].into_iter().all(named)
    });
    let of = |name: &str| status.checks.iter().find(|check| check.name == name).unwrap();
    assert_eq!((of("printed").ok, of("own").ok), (Some(true), Some(true)), "{:?}", status.checks);
    let stranger = &of("stranger").message;
    let words = "it is self-signed, by \"plc-7\"; to trust it, set checks[].ca_file to a file with it in PEM, or checks[].fingerprint";
    assert!(stranger.contains(words), "{stranger}");
    let other = &of("other").message;
    let shown = print.rsplit('=').next().unwrap();
    assert!(other.contains(&format!("certificate has the SHA-256 fingerprint {shown}, and AB:AB:")), "{other}");
}
