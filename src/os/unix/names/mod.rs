//! The addresses of a name. On Linux they are looked up here, in `/etc/hosts` and by the name servers of
//! `/etc/resolv.conf`, and never without a time limit.
//!
//! musl's resolver, which a static build would use, loses a good address of IPv4 when a server answers the question for
//! IPv6 with an error, takes the first server's "no such name" for all of them, and cannot be given a limit. A build with
//! another C library asks that one after this, for names that only it knows (NSS: mDNS, LDAP).

mod ask;
mod files;
mod message;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::os::{Family, in_turns};
use files::Conf;
use message::Kind;

/// The most bytes of `/etc/hosts` that are read. Lists that block advertisements have some megabytes.
const MAX_HOSTS: u64 = 64 * 1024 * 1024;
/// The most bytes of `/etc/resolv.conf` that are read.
const MAX_CONF: u64 = 64 * 1024;
/// The time for one more name of the search list when no server answers.
const LAST_TRY: Duration = Duration::from_secs(2);

/// Looks up the addresses of a name, the best one first. Blocks, until the deadline at most.
///
/// # Errors
///
/// The reason in words: what each name server said.
pub fn look_up(host: &str, port: u16, family: Family, until: Instant) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = host.parse() {
        return in_turns(family, vec![SocketAddr::new(address, port)]);
    }
    if let Some(address) = files::address_with_zone(host, port).or_else(|| Some((old_form(host)?, port).into())) {
        return in_turns(family, vec![address]);
    }
    if !cfg!(target_os = "linux") {
        return in_turns(family, by_libc(host, port)?);
    }
    let found = match Places::own().look_up(host, family, until) {
        Ok(found) => found,
        Err(why) if cfg!(target_env = "musl") || Instant::now() >= until => return Err(why),
        Err(why) => return by_libc(host, port).and_then(|found| in_turns(family, found)).map_err(|_| why),
    };
    in_turns(family, found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// The file that names the name servers, as a message names it.
pub const NAME_SERVERS: &str = "/etc/resolv.conf";

/// What one place has told about a name.
#[derive(Debug, PartialEq)]
pub struct Told {
    /// The place: `/etc/hosts`, or a name server.
    pub who: String,
    /// Its answers to both questions, in words.
    pub words: String,
    pub found: Vec<IpAddr>,
    /// Whether it is a name server that cannot be asked.
    pub is_mute: bool,
}

/// Asks every place by itself for the addresses of a name, A and AAAA apart. Nothing is told of an address. A name server in
/// `mute` is not asked, and one that does not answer is added there.
pub fn ask_each(host: &str, mute: &mut Vec<IpAddr>, until: Instant) -> Vec<Told> {
    if host.parse::<IpAddr>().is_ok() || files::address_with_zone(host, 0).is_some() || old_form(host).is_some() {
        return Vec::new();
    }
    let mut told = if cfg!(target_os = "linux") { Places::own().ask_each(host, mute, until) } else { Vec::new() };
    let is_known = told.iter().any(|one| !one.found.is_empty());
    // It may know a name by other ways, such as LDAP.
    let asks_libc = cfg!(not(all(target_os = "linux", target_env = "musl")));
    if !is_known && asks_libc && Instant::now() < until {
        match by_libc(host, 0) {
            Ok(found) => {
                let found: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
                told.push(Told { who: "the C library".into(), words: listed(&found), found, is_mute: false });
            }
            Err(why) if told.is_empty() => {
                told.push(Told { who: "the C library".into(), words: why, found: Vec::new(), is_mute: false });
            }
            Err(_) => {}
        }
    }
    told
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// An address of IPv4 in one of the forms of inet_aton(3), such as `127.1`, `0x7f000001` or `010.0.0.1`.
fn old_form(host: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match (part.strip_prefix("0x"), part.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16).ok(),
        (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8).ok(),
        _ => part.parse().ok(),
    };
    // `from_str_radix` takes a sign.
    let digits = host.bytes().all(|byte| byte.is_ascii_hexdigit() || b"x.".contains(&byte));
    let parts = host.split('.').map(number).collect::<Option<Vec<u32>>>().filter(|_| digits)?;
    let (last, bytes) = parts.split_last()?;
    let bits = 32_u32.checked_sub(8 * u32::try_from(bytes.len()).ok()?)?;
    if bits == 0 || bits < 32 && last >> bits != 0 || bytes.iter().any(|byte| *byte > 255) {
        return None;
    }
    let high = bytes.iter().enumerate().map(|(at, byte)| byte << (24 - 8 * at)).sum::<u32>();
    Some(Ipv4Addr::from_bits(high | last))
}

fn by_libc(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    (host, port).to_socket_addrs().map(Iterator::collect).map_err(|error| error.to_string())
}

/// Where names are looked up.
struct Places {
    hosts: PathBuf,
    conf: PathBuf,
    /// The port of the name servers.
    port: u16,
}

impl Places {
    /// Those of this host.
    fn own() -> Self {
        Self { hosts: Path::new("/etc/hosts").into(), conf: Path::new("/etc/resolv.conf").into(), port: 53 }
    }

    /// See [`ask_each`].
    fn ask_each(&self, name: &str, mute: &mut Vec<IpAddr>, until: Instant) -> Vec<Told> {
        let told = |who: String, found: Vec<IpAddr>, words: String| Told { who, found, words, is_mute: false };
        let hosts = fs::File::open(&self.hosts).ok();
        let listed_here =
            hosts.map(|file| files::in_hosts(BufReader::new(file.take(MAX_HOSTS)), name)).unwrap_or_default();
        if !listed_here.is_empty() {
            return vec![told(self.hosts.display().to_string(), listed_here.clone(), listed(&listed_here))];
        }
        if is_localhost(name) {
            return vec![told("this host itself".into(), vec![Ipv4Addr::LOCALHOST.into()], "127.0.0.1".into())];
        }
        let conf = self.conf();
        let mut all = Vec::new();
        for server in &conf.servers {
            let who = format!("name server {}", server.ip());
            if mute.contains(&server.ip()) {
                continue;
            }
            let mut alone = conf.clone();
            (alone.servers, alone.attempts, alone.timeout) = (vec![*server], 1, conf.timeout.min(LAST_TRY));
            let mut one = told(who, Vec::new(), "not a name".into());
            for candidate in conf.candidates(name) {
                if message::question(0, &candidate, Kind::A).is_none() {
                    continue;
                }
                let mut words: Vec<String> = Vec::new();
                let mut before = String::new();
                for (kind, letter) in [(Kind::A, "A"), (Kind::Aaaa, "AAAA")] {
                    let asked = ask::ask(&candidate, &[kind], &alone, &mut Vec::new(), until);
                    match asked.found {
                        Ok(found) => {
                            words.push(format!("{letter}: {}", listed(&found)));
                            one.found.extend(found);
                        }
                        Err(said) => {
                            let said = said.into_iter().next().map_or_else(|| "no answer".to_owned(), |(_, said)| said);
                            // Most say the same twice.
                            match words.is_empty() || said != before {
                                true => words.push(format!("{letter}: {said}")),
                                false => words = vec![said.clone()],
                            }
                            before = said;
                        }
                    }
                    // Some servers are silent about AAAA alone.
                    if !asked.answered && kind == Kind::A {
                        one.is_mute = true;
                        break;
                    }
                }
                // The name itself says more than one of the search list.
                if !one.found.is_empty() || candidate == name || one.is_mute {
                    one.words = words.join(", ");
                }
                if !one.found.is_empty() || one.is_mute {
                    break;
                }
            }
            if one.is_mute {
                mute.push(server.ip());
            }
            all.push(one);
        }
        all
    }

    fn look_up(&self, name: &str, family: Family, until: Instant) -> Result<Vec<IpAddr>, String> {
        if message::question(0, name.strip_suffix('.').unwrap_or(name), Kind::A).is_none() {
            return Err("not a name: it has 1 to 253 characters, and 1 to 63 between two dots".to_owned());
        }
        let wanted = |mut found: Vec<IpAddr>| {
            found.retain(|address| family.takes(*address));
            (!found.is_empty()).then(|| best_first(found))
        };
        let mut found = match fs::File::open(&self.hosts) {
            Ok(file) => files::in_hosts(BufReader::new(file.take(MAX_HOSTS)), name),
            Err(_) => Vec::new(),
        };
        let is_localhost = is_localhost(name);
        if is_localhost && found.iter().all(IpAddr::is_loopback) {
            // Many a hosts file has one of them only, and a server on this host listens on the other.
            let both: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
            found.retain(|address| !both.contains(address));
            found.extend(both);
        }
        if let Some(found) = wanted(found) {
            return Ok(found);
        }
        if is_localhost {
            return Err(family.none());
        }
        self.by_servers(name, family, until)
    }

    fn by_servers(&self, name: &str, family: Family, until: Instant) -> Result<Vec<IpAddr>, String> {
        let conf = self.conf();
        let kinds = [Kind::A, Kind::Aaaa].into_iter().filter(|kind| match kind {
            Kind::A => family != Family::V6,
            Kind::Aaaa => family == Family::V6 || family == Family::Any && !conf.no_aaaa,
        });
        let kinds: Vec<Kind> = kinds.collect();
        let mut mute = Vec::new();
        let mut said = Vec::new();
        let mut nobody = false;
        for candidate in conf.candidates(name) {
            // A domain of the search list may make a name too long.
            if message::question(0, &candidate, Kind::A).is_none() {
                continue;
            }
            let until = if nobody { until.min(Instant::now() + LAST_TRY) } else { until };
            let asked = ask::ask(&candidate, &kinds, &conf, &mut mute, until);
            match asked.found {
                Ok(found) => return Ok(best_first(found)),
                // The name itself says more than one of the search list.
                Err(servers) if said.is_empty() || candidate == name && !servers.is_empty() => said = servers,
                Err(_) => {}
            }
            nobody |= !asked.answered;
        }
        let words = said.iter().map(|(server, words)| format!("name server {}: {words}", server.ip()));
        let mut words = words.collect::<Vec<_>>().join("; ");
        if !conf.names_a_server {
            words += &format!("; {} names no server", self.conf.display());
        }
        Err(words)
    }

    fn conf(&self) -> Conf {
        let mut text = Vec::new();
        if let Ok(file) = fs::File::open(&self.conf) {
            // A file that cannot be read names no server, and the message says so.
            let _ = file.take(MAX_CONF).read_to_end(&mut text);
        }
        let own = rustix::system::uname();
        let mut conf = Conf::parse(&String::from_utf8_lossy(&text), &own.nodename().to_string_lossy(), self.port);
        // resolv.conf(5), ENVIRONMENT.
        if let Ok(domains) = std::env::var("LOCALDOMAIN") {
            conf.search_in(&domains);
        }
        std::env::var("RES_OPTIONS").unwrap_or_default().split_ascii_whitespace().for_each(|word| conf.option(word));
        conf
    }
}

/// Whether a name is this host's own by RFC 6761, section 6.3: no name server is asked.
fn is_localhost(name: &str) -> bool {
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    last.eq_ignore_ascii_case("localhost")
}

/// Sorts addresses as RFC 6724 has it, in short: first what this host has a way to, then by the label and precedence of
/// section 2.1. The kernel is asked for its own address on the way; that sends nothing.
fn best_first(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut sorted: Vec<((bool, bool, u8), IpAddr)> = Vec::with_capacity(addresses.len());
    for address in addresses {
        let rank = rank(address, source(address));
        let at = sorted.iter().position(|(other, _)| *other > rank).unwrap_or(sorted.len());
        sorted.insert(at, (rank, address));
    }
    sorted.into_iter().map(|(_, address)| address).collect()
}

/// The lower, the better.
fn rank(address: IpAddr, source: Option<IpAddr>) -> (bool, bool, u8) {
    let differs = source.is_some_and(|source| precedence(source) != precedence(address));
    (source.is_none(), differs, 255 - precedence(address))
}

/// The precedence of RFC 6724, section 2.1. Each block there has a label of its own, so this is the label too.
fn precedence(address: IpAddr) -> u8 {
    let IpAddr::V6(address) = address else { return 35 };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => 50,
        [0x2002, ..] => 30,
        [0x2001, 0, ..] => 5,
        [0xfc00..0xfe00, ..] => 3,
        _ => 40,
    }
}

/// The address that this host would send from. `None` if it has no way there.
fn source(address: IpAddr) -> Option<IpAddr> {
    let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((address, 53)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
