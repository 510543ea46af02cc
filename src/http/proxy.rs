//! Chooses between a proxy and a direct connection. Pure.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::Proxy;

use super::HttpError;
use super::url::{bare, is_host_and_port};

/// Reads a proxy for URLs of a scheme, `http` or `https`.
///
/// # Errors
///
/// [`HttpError::Proxy`]. It repeats no part of the proxy's URL, which may hold a password.
pub fn parse_proxy(scheme: &'static str, proxy: &str) -> Result<Proxy, HttpError> {
    let bad = |why| HttpError::Proxy { scheme, why };
    let parsed = Proxy::new(proxy).ok().filter(|proxy| proxy.uri().authority().is_some_and(is_host_and_port));
    let parsed = parsed.ok_or_else(|| bad("not a proxy; write http://host:port"))?;
    if parsed.protocol() != ureq::ProxyProtocol::Http {
        return Err(bad("only http:// proxies are supported; through them https:// is encrypted all the way"));
    }
    Ok(parsed)
}

/// The value of `Proxy-Authorization`, if the proxy's URL has a user.
pub(super) fn credentials(proxy: &Proxy) -> Option<String> {
    let user = proxy.username()?;
    let pair = format!("{user}:{}", proxy.password().unwrap_or(""));
    Some(format!("Basic {}", STANDARD.encode(pair)))
}

/// Whether a host is reached without a proxy.
///
/// `no_proxy` is a list separated by commas. `*` means every host; `example.com` that name and all names below it,
/// `.example.com` and `*.example.com` only names below it; `10.0.0.1` an address; `10.0.0.0/8` and `fd00::/8` a network.
/// All but networks may end in `:port`. `localhost` and loopback addresses never use a proxy.
///
/// This is what Go programs do, the Collector among them, and nothing else: golang.org/x/net/http/httpproxy. So a list has
/// one meaning for both, down to entries that match nothing: `a b`, `[fd00::1]` without a port.
pub fn bypasses_proxy(no_proxy: &str, host: &str, port: u16) -> bool {
    let host = bare(host);
    // A zone, as in fe80::1%eth0, does not count.
    let address = parse_address(host.split('%').next().unwrap_or(host));
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let host = host.to_ascii_lowercase();
    no_proxy.split(',').any(|entry| {
        // A capital letter beyond ASCII is left as it is: the tables for it are larger than this file.
        let entry = entry.trim().to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let Some((network, bits)) = parse_network(&entry) {
            return address.is_some_and(|address| is_within(address, network, bits));
        }
        let (name, only) = split_port(&entry);
        if name.is_empty() {
            return false;
        }
        let hits = match (parse_address(name), address) {
            (Some(listed), Some(address)) => listed == address,
            (None, None) => is_below(&host, name),
            (Some(_), None) | (None, Some(_)) => false,
        };
        hits && (only.is_empty() || only == port.to_string())
    })
}

/// An address. One of IPv4 in the form of IPv6 (`::ffff:10.0.0.1`) is the same as the plain one.
fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// A network, and how many bits of its address count.
fn parse_network(entry: &str) -> Option<(IpAddr, u32)> {
    let (network, bits) = entry.split_once('/')?;
    let network: IpAddr = network.parse().ok()?;
    let bits = bits.bytes().all(|byte| byte.is_ascii_digit()).then(|| bits.parse().ok())??;
    let (width, mapped) = match network {
        IpAddr::V4(_) => (32, false),
        IpAddr::V6(address) => (128, bits >= 96 && address.to_ipv4_mapped().is_some()),
    };
    let network = if mapped { network.to_canonical() } else { network };
    (bits <= width).then_some((network, if mapped { bits - 96 } else { bits }))
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (address, network, width): (u128, u128, u32) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (a.to_bits().into(), n.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    // A shift by all 128 bits yields `None` on both sides, so `/0` has every address in it.
    let ignored = width - bits;
    address.checked_shr(ignored) == network.checked_shr(ignored)
}

/// Splits `host:port` and `[address]:port`, as Go's net.SplitHostPort. Where that returns an error, all is the host.
fn split_port(entry: &str) -> (&str, &str) {
    let split = entry.rsplit_once(':').and_then(|(name, port)| {
        let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let plain = !name.contains(':') || inner.is_some();
        let name = inner.unwrap_or(name);
        (plain && !name.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((name, port))
    });
    split.unwrap_or((entry, ""))
}

/// Whether an entry without its port names this host or a domain above it.
fn is_below(host: &str, entry: &str) -> bool {
    let entry = match entry.strip_prefix('*') {
        Some(rest) if rest.starts_with('.') => rest,
        _ => entry,
    };
    let entry = in_ascii(entry);
    match host.strip_suffix(&entry) {
        None => false,
        Some("") => !entry.starts_with('.') || host.starts_with('.'),
        Some(below) => entry.starts_with('.') || below.ends_with('.'),
    }
}

/// A name in the form that URLs and DNS have: `xn--wrk-sna.test` for `wörk.test`. It must be in lower case.
fn in_ascii(name: &str) -> String {
    // A longer label cannot be in a name.
    let label = |label: &str| match label.is_ascii() || label.len() > 4 * 63 {
        true => label.to_owned(),
        false => format!("xn--{}", punycode(label)),
    };
    name.split('.').map(label).collect::<Vec<_>>().join(".")
}

/// Encodes a label (RFC 3492, section 6.3). The numbers are those of its section 5.
fn punycode(label: &str) -> String {
    let mut coded: String = label.chars().filter(char::is_ascii).collect();
    let mut done = coded.len() as u32;
    let basic = done;
    if done > 0 {
        coded.push('-');
    }
    let (mut from, mut delta, mut bias) = (128, 0_u32, 72);
    while let Some(next) = label.chars().map(u32::from).filter(|c| *c >= from).min() {
        delta = delta.wrapping_add((next - from).wrapping_mul(done + 1));
        from = next;
        for c in label.chars().map(u32::from) {
            if c < from {
                delta = delta.wrapping_add(1);
            }
            if c != from {
                continue;
            }
            let mut rest = delta;
            for k in (36..).step_by(36) {
                let threshold = u32::clamp(u32::saturating_sub(k, bias), 1, 26);
                if rest < threshold {
                    coded.push(digit(rest));
                    break;
                }
                let over = rest - threshold;
                coded.push(digit(threshold + over % (36 - threshold)));
                rest = over / (36 - threshold);
            }
            done += 1;
            delta = if done == basic + 1 { delta / 700 } else { delta / 2 };
            delta += delta / done;
            let mut k = 0;
            while delta > 455 {
                delta /= 35;
                k += 36;
            }
            bias = k + 36 * delta / (delta + 38);
            delta = 0;
        }
        delta = delta.wrapping_add(1);
        from += 1;
    }
    coded
}

fn digit(value: u32) -> char {
    char::from_digit(if value < 26 { value + 10 } else { value - 26 }, 36).expect("below 36")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::url::port;

    #[test]
    fn a_list_means_what_it_means_to_go_programs() {
        let mut rows = 0;
        for line in include_str!("tests/no_proxy.txt").lines().filter(|line| !line.starts_with('#')) {
            let [answer, list, url] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let uri: ureq::http::Uri = url.parse().unwrap();
            let direct = bypasses_proxy(&list.replace("\\t", "\t"), uri.host().unwrap(), port(&uri));
            assert_eq!(if direct { "direct" } else { "proxy" }, answer, "{list:?} {url}");
            rows += 1;
        }
        assert!(rows >= 40, "{rows}");
    }

    #[test]
    fn any_list_can_be_read() {
        let mut dice = fastrand::Rng::with_seed(12);
        for _ in 0..20_000 {
            let any = |dice: &mut fastrand::Rng| {
                let length = dice.usize(..14);
                (0..length).map(|_| dice.choice("*.:/[], 019afö例%".chars().collect::<Vec<_>>()).unwrap()).collect()
            };
            let (list, host): (String, String) = (any(&mut dice), any(&mut dice));
            bypasses_proxy(&list, &host, 80);
        }
    }
}
