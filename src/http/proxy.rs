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
/// `no_proxy` is a list separated by commas or spaces. `*` means every host; `example.com` that name and all names
/// below it, `.example.com` only names below it; `10.0.0.1` an address; `10.0.0.0/8` and `fd00::/8` a network. All but
/// networks may end in `:port`. `localhost` and loopback addresses never use a proxy. These are the rules of Go
/// programs, so the Collector reads the same list in the same way.
pub fn bypasses_proxy(no_proxy: &str, host: &str, port: u16) -> bool {
    let host = bare(host).trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Some((network, bits)) = entry.split_once('/') {
            return address.is_some_and(|address| is_within(address, network, bits));
        }
        // An IPv6 address without brackets has colons but no port.
        let (name, only) = match entry.rsplit_once(':') {
            Some((name, only)) if !name.contains(':') || name.ends_with(']') => (name, only.parse().ok()),
            _ => (entry, Some(port)),
        };
        if only != Some(port) {
            return false;
        }
        if let Some(address) = address {
            return bare(name).parse() == Ok(address);
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        match host.strip_suffix(name.trim_start_matches('.')) {
            None => false,
            Some("") => !name.starts_with('.'),
            Some(below) => below.ends_with('.') && name.len() > 1,
        }
    })
}

fn is_within(address: IpAddr, network: &str, bits: &str) -> bool {
    let Ok(bits) = bits.parse::<u32>() else {
        return false;
    };
    let (address, network, width): (u128, u128, u32) = match (address, network.parse()) {
        (IpAddr::V4(a), Ok(IpAddr::V4(n))) => (a.to_bits().into(), n.to_bits().into(), 32),
        (IpAddr::V6(a), Ok(IpAddr::V6(n))) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    let Some(ignored) = width.checked_sub(bits) else {
        return false;
    };
    // A shift by all 128 bits yields `None` on both sides, so `/0` has every address in it.
    address.checked_shr(ignored) == network.checked_shr(ignored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_in_no_proxy_are_reached_directly() {
        let list = "example.com,.internal  host:8080,10.0.0.0/8,192.168.1.7,fd00::/8,[fd99::1]:443,::2";
        for (host, port) in [
            ("example.com", 443),
            ("EXAMPLE.com.", 443),
            ("a.b.example.com", 1),
            ("a.internal", 443),
            ("host", 8080),
            ("a.host", 8080),
            ("10.255.0.1", 443),
            ("192.168.1.7", 80),
            ("[fd12::3]", 443),
            ("fd99::1", 443),
            ("[::2]", 80),
            ("localhost", 80),
            ("127.0.0.9", 80),
            ("[::1]", 80),
        ] {
            assert!(bypasses_proxy(list, host, port), "{host}:{port}");
        }
        for (host, port) in [
            ("badexample.com", 443),
            ("example.com.evil", 443),
            ("internal", 443),
            ("host", 443),
            ("11.0.0.1", 443),
            ("192.168.1.70", 443),
            ("[fe00::1]", 443),
            ("[::3]", 443),
            ("localhost.example", 80),
        ] {
            assert!(!bypasses_proxy(list, host, port), "{host}:{port}");
        }
        assert!(bypasses_proxy("*", "anything", 1));
        for nothing in ["", ",", " ", ".", "/8", "10.0.0.0/", "10.0.0.0/33", "a:b:c", ":", ":443"] {
            assert!(!bypasses_proxy(nothing, "c.example", 443), "{nothing}");
            assert!(!bypasses_proxy(nothing, "10.1.1.1", 443), "{nothing}");
        }
        assert!(bypasses_proxy("0.0.0.0/0", "10.1.1.1", 443));
        assert!(bypasses_proxy("::/0", "fd00::1", 443));
    }
}
