//! The files of the resolver: `/etc/hosts` and `/etc/resolv.conf` (hosts(5), resolv.conf(5)). Pure.

use std::io::BufRead;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// The most servers that are asked, as resolv.conf(5) has it (MAXNS).
const MAX_SERVERS: usize = 3;
/// The most domains of a search list. Kubernetes allows as many.
const MAX_SEARCH: usize = 32;

/// The settings of `/etc/resolv.conf`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conf {
    /// At least one.
    pub(super) servers: Vec<SocketAddr>,
    /// Whether the file names a server. If it does not, the one on this host is asked.
    pub(super) names_a_server: bool,
    search: Vec<String>,
    ndots: usize,
    /// How long a server may take.
    pub(super) timeout: Duration,
    /// How often each server is asked.
    pub(super) attempts: usize,
    /// Whether each question begins with another server.
    pub(super) rotate: bool,
    /// Whether servers are asked by TCP only.
    pub(super) tcp_only: bool,
    pub(super) no_aaaa: bool,
}

impl Conf {
    /// Reads the text of the file. `own_name` is this host's name: its domain is the search list of a file without one.
    pub(super) fn parse(text: &str, own_name: &str, port: u16) -> Self {
        let mut conf = Self {
            servers: Vec::new(),
            names_a_server: true,
            search: own_name.split_once('.').map(|(_, domain)| tidy(domain)).into_iter().collect(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            tcp_only: false,
            no_aaaa: false,
        };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or("") {
                "nameserver" if conf.servers.len() < MAX_SERVERS => {
                    conf.servers.extend(words.next().and_then(|word| server(word, port)));
                }
                // The last line of the two counts.
                "domain" => conf.search = words.take(1).map(tidy).collect(),
                "search" => conf.search = words.take(MAX_SEARCH).map(tidy).collect(),
                "options" => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        conf.search.retain(|domain| !domain.is_empty());
        if conf.servers.is_empty() {
            conf.names_a_server = false;
            conf.servers.push((Ipv4Addr::LOCALHOST, port).into());
        }
        conf
    }

    /// Takes an option. The limits are those of resolv.conf(5); options that are not here change nothing.
    pub(super) fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        match (name, value.parse::<usize>()) {
            ("ndots", Ok(dots)) => self.ndots = dots.min(15),
            ("timeout", Ok(seconds)) => self.timeout = Duration::from_secs(seconds.clamp(1, 30) as u64),
            ("attempts", Ok(times)) => self.attempts = times.clamp(1, 5),
            ("rotate", _) => self.rotate = true,
            ("use-vc", _) => self.tcp_only = true,
            ("no-aaaa", _) => self.no_aaaa = true,
            _ => {}
        }
    }

    /// Replaces the search list, as the variable `LOCALDOMAIN` does.
    pub(super) fn search_in(&mut self, domains: &str) {
        self.search = domains.split_ascii_whitespace().take(MAX_SEARCH).map(tidy).collect();
    }

    /// The names to ask for, in order: a name with at least `ndots` dots is tried as it is first, another one below the
    /// domains of the search list first. A dot at the end makes it the only one.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let mut candidates: Vec<String> = searched.collect();
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let at = if dots >= self.ndots { 0 } else { candidates.len() };
        candidates.insert(at, name.to_owned());
        candidates
    }
}

/// A domain of the search list, without dots around it.
fn tidy(domain: &str) -> String {
    domain.trim_matches('.').to_owned()
}

/// The address of a server.
fn server(word: &str, port: u16) -> Option<SocketAddr> {
    let plain = word.parse().map(|address| SocketAddr::new(address, port));
    plain.ok().or_else(|| address_with_zone(word, port))
}

/// An address on one of this host's links, `fe80::1%eth0` or `fe80::1%2`.
pub(super) fn address_with_zone(word: &str, port: u16) -> Option<SocketAddr> {
    let (address, zone) = word.split_once('%')?;
    let address = address.parse().ok()?;
    let index = || std::fs::read_to_string(format!("/sys/class/net/{zone}/ifindex")).ok()?.trim().parse().ok();
    let scope = zone.parse().ok().or_else(index)?;
    Some(SocketAddrV6::new(address, port, 0, scope).into())
}

/// The addresses of a name in the text of `/etc/hosts`, in order.
pub(super) fn in_hosts(mut hosts: impl BufRead, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let mut found: Vec<IpAddr> = Vec::new();
    let mut line = Vec::new();
    // A line that is no UTF-8, as in comments of people, hides no other line.
    while hosts.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        let mut words = text.split('#').next().unwrap_or("").split_ascii_whitespace();
        let address = words.next().and_then(|word| word.split('%').next()?.parse().ok());
        if let Some(address) = address
            && !found.contains(&address)
            && words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name))
        {
            found.push(address);
        }
        line.clear();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Conf {
        Conf::parse(text, "edge-7", 53)
    }

    #[test]
    fn servers_and_options_are_read_within_their_limits() {
        let conf = parse(
            "# nameserver 10.0.0.9\n;nameserver 10.0.0.9\nnameserver 10.0.0.1\r\nnameserver fd00::1 # the other\n\
             nameserver plant.test\n\tnameserver\tfe80::1%3\nnameserver 10.0.0.4\n\
             options timeout:2 attempts:99 rotate edns0\noptions use-vc ndots:x no-aaaa\n",
        );
        let servers = ["10.0.0.1:53", "[fd00::1]:53", "[fe80::1%3]:53"].map(|server| server.parse().unwrap());
        assert_eq!(conf.servers, servers);
        assert_eq!((conf.timeout, conf.attempts, conf.ndots), (Duration::from_secs(2), 5, 1));
        assert!(conf.rotate && conf.tcp_only && conf.no_aaaa && conf.names_a_server);
    }

    #[test]
    fn without_a_file_the_server_on_this_host_is_asked() {
        let conf = parse("");
        assert_eq!(conf.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert!(!conf.names_a_server);
        assert_eq!((conf.timeout, conf.attempts), (Duration::from_secs(5), 2));
    }

    #[test]
    fn the_search_list_comes_before_or_behind_the_name_itself() {
        let conf = parse("domain old.test\nsearch plant.test. corp.test\n");
        assert_eq!(conf.candidates("config"), ["config.plant.test", "config.corp.test", "config"]);
        assert_eq!(conf.candidates("a.b"), ["a.b", "a.b.plant.test", "a.b.corp.test"]);
        assert_eq!(conf.candidates("a.b."), ["a.b"]);
        let cluster = parse("search ns.svc.cluster.local\noptions ndots:5\n");
        assert_eq!(cluster.candidates("a.b.c"), ["a.b.c.ns.svc.cluster.local", "a.b.c"]);
        assert_eq!(parse("search .\n").candidates("a"), ["a"]);
        assert_eq!(parse("options ndots:0\nsearch x.test").candidates("a"), ["a", "a.x.test"]);
    }

    #[test]
    fn the_domain_of_this_host_is_searched_if_the_file_names_none() {
        assert_eq!(Conf::parse("", "edge-7.plant.test", 53).candidates("db"), ["db.plant.test", "db"]);
        assert_eq!(Conf::parse("search a.test", "edge-7.plant.test", 53).candidates("db"), ["db.a.test", "db"]);
    }

    #[test]
    fn a_name_is_found_in_any_column_of_the_hosts_file() {
        let hosts = b"127.0.0.1\tlocalhost\n#10.0.0.9 config\n10.0.0.1 a Config.Plant.Test config # db\n\xff\xfe junk\n\
                      fd00::1%eth0 config\n10.0.0.1 config\n999.0.0.1 config\n10.0.0.2 db"
            as &[u8];
        let of = |name| in_hosts(hosts, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of("config"), ["10.0.0.1", "fd00::1"]);
        assert_eq!(of("CONFIG.plant.test."), ["10.0.0.1"]);
        assert_eq!(of("db"), ["10.0.0.2"]);
        assert_eq!(of("plant.test"), [""; 0]);
    }
}
