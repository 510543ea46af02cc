//! The next step after a failure, from a collector's own words. Pure.

/// The facts of the host that a next step names.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The directory from which the relative paths of a config count.
    pub directory: &'a str,
    /// The command that shows which program listens on which port.
    pub listeners: &'a str,
    /// Whether the words say that a port is taken, which Windows says in its own language.
    pub port_is_taken: bool,
}

/// Returns the words of a collector, with the next step behind them if it is known.
pub fn advised(words: String, around: &Surroundings<'_>) -> String {
    match next_step(&words, around) {
        Some(step) => words + "; " + &step,
        None => words,
    }
}

fn next_step(words: &str, around: &Surroundings<'_>) -> Option<String> {
    let Surroundings { directory, listeners, port_is_taken } = *around;
    if words.contains("lookup localhost") {
        return Some(
            "localhost does not resolve on this host; add the line `127.0.0.1 localhost` to its file of hosts, or write \
             127.0.0.1 in the config"
                .into(),
        );
    }
    if let Some(address) = bound(words) {
        if words.contains("bind: permission denied") {
            return Some(
                "a port below 1024 needs root or CAP_NET_BIND_SERVICE (in a systemd unit: AmbientCapabilities=); grant \
                 it, or take a higher port"
                    .into(),
            );
        }
        if words.contains("bind: cannot assign requested address") {
            return Some(format!("no interface of this host has the address of {address}; correct the endpoint"));
        }
        if port_is_taken {
            return Some(format!(
                "another program, perhaps another Collector, or a second component of this config has {address}: `{listeners}` shows which; stop it, or change \
                 the port of one of them"
            ));
        }
    }
    if ["unknown flag: ", "unknown shorthand flag: ", "accepts 0 arg(s)", "\" flag: "]
        .iter()
        .any(|it| words.contains(it))
    {
        return Some("correct collector.args: the collector does not take one of them".into());
    }
    let path = missing(words).filter(|path| is_relative(path))?;
    Some(format!(
        "{path} is a relative path, and those count from {directory}, the working directory of otelet; write the whole path"
    ))
}

/// The address in `listen tcp 127.0.0.1:4317: bind: ...`, if a collector could not listen there.
fn bound(words: &str) -> Option<&str> {
    let (before, _) = words.split_once(": bind: ")?;
    let (_, listen) = before.rsplit_once("listen ")?;
    listen.rsplit(' ').next().filter(|address| !address.is_empty())
}

/// The path in `open parts/x.yaml: no such file or directory`. Windows says it in its own language, but Go's standard
/// messages are English there.
fn missing(words: &str) -> Option<&str> {
    const MISSING: [&str; 3] =
        [": no such file or directory", ": The system cannot find the file", ": The system cannot find the path"];
    const VERBS: [&str; 5] = ["open ", "stat ", "lstat ", "mkdir ", "read "];

    let end = MISSING.iter().filter_map(|missing| words.find(missing)).min()?;
    let before = &words[..end];
    let begins = |verb: &&str| {
        let at = before.rfind(*verb)?;
        let is_word = before[..at].chars().next_back().is_none_or(|c| !c.is_ascii_alphanumeric());
        is_word.then_some(at + verb.len())
    };
    let start = VERBS.iter().filter_map(begins).max()?;
    Some(before[start..].trim_matches(['"', '\'', ' ']))
}

fn is_relative(path: &str) -> bool {
    let drive = path.as_bytes().get(1) == Some(&b':');
    !path.is_empty() && !path.contains(": ") && !path.starts_with(['/', '\\']) && !drive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(words: &str) -> String {
        let port_is_taken = words.contains("in use");
        let around = Surroundings { directory: "/srv", listeners: "ss -lntup", port_is_taken };
        let advised = advised(words.to_owned(), &around);
        advised.strip_prefix(words).expect("the collector's words come first").to_owned()
    }

    #[test]
    fn each_known_failure_has_its_next_step() {
        // In the words of 0.149.0.
        let parts = "failed to get config: cannot resolve the configuration: unable to read the file \
                     file:parts/exporters.yaml: open parts/exporters.yaml: no such file or directory";
        assert_eq!(
            step(parts),
            "; parts/exporters.yaml is a relative path, and those count from /srv, the working directory of otelet; write \
             the whole path"
        );
        for relative in [
            "failed to load TLS config: failed to load cert certs/ca.pem: open certs/ca.pem: no such file or directory",
            "open ~/x.yaml: no such file or directory",
            "open parts\\x.yaml: The system cannot find the path specified.",
            "stat ./data: no such file or directory",
            "mkdir my data/queue: no such file or directory",
        ] {
            assert!(step(relative).contains(" is a relative path, and those count from /srv"), "{relative}");
        }
        for absolute in [
            "open /etc/x.yaml: no such file or directory",
            r"open C:\x.yaml: The system cannot find the file specified.",
            r"open \\server\x.yaml: The system cannot find the file specified.",
            "dial unix run/docker.sock: connect: no such file or directory",
            "reopen x: no such file or directory",
            "no such file or directory",
        ] {
            assert_eq!(step(absolute), "", "{absolute}");
        }

        let taken = "cannot start pipelines: failed to start \"otlp\" receiver: listen tcp 127.0.0.1:4317: bind: address \
                     already in use";
        assert_eq!(
            step(taken),
            "; another program, perhaps another Collector, or a second component of this config has 127.0.0.1:4317: `ss -lntup` shows which; stop it, or change \
             the port of one of them"
        );
        assert!(step("listen udp [::1]:6831: bind: address already in use").contains(" has [::1]:6831: "));
        assert!(step("listen tcp :514: bind: permission denied").contains("a port below 1024 needs root"));
        let elsewhere = "listen tcp 10.9.9.9:4317: bind: cannot assign requested address";
        assert!(step(elsewhere).contains("has the address of 10.9.9.9:4317; correct the endpoint"));
        let unresolved = "failed to start: listen tcp: lookup localhost on 10.0.0.2:53: no such host";
        assert!(step(unresolved).starts_with("; localhost does not resolve on this host; add the line `127.0.0.1 "));
        for argument in [
            "unknown flag: --nosuch",
            "unknown shorthand flag: 'c' in -config=/x",
            "accepts 0 arg(s), received 1",
            "invalid argument \"nosuch.gate\" for \"--feature-gates\" flag: no such feature gate \"nosuch.gate\". valid gates: []",
        ] {
            assert_eq!(
                step(argument),
                "; correct collector.args: the collector does not take one of them",
                "{argument}"
            );
        }
        assert_eq!(step("device in use"), "");
        assert_eq!(step(""), "");
    }
}
