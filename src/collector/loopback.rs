//! The loopback of this host: the address that it has, ports that are free there, and an address for the collector's own
//! metrics.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::os;
use otelet_config::Loopback;

/// The port of the collector's own metrics, unless its config has another one.
const METRICS: u16 = 8888;

/// The loopback address of this host, with two ports that were free a moment ago.
///
/// # Errors
///
/// The error of 127.0.0.1, if neither it nor ::1 can be listened on.
pub(super) fn find() -> io::Result<Loopback> {
    let at = |ip: IpAddr| {
        // Both at a time, or they might be the same.
        let (one, other) = (TcpListener::bind((ip, 0))?, TcpListener::bind((ip, 0))?);
        io::Result::Ok(Loopback { ip, ports: [one.local_addr()?.port(), other.local_addr()?.port()], metrics: None })
    };
    at(Ipv4Addr::LOCALHOST.into()).or_else(|error| at(Ipv6Addr::LOCALHOST.into()).map_err(|_| error))
}

/// The address for the collector's own metrics. None where `localhost:8888`, their default, works.
pub(super) fn metrics(loopback: IpAddr) -> Option<SocketAddr> {
    let free = |ip: IpAddr, port| TcpListener::bind((ip, port)).and_then(|listener| listener.local_addr());
    choose(&os::localhost(), loopback, free)
}

/// The same by the addresses that `localhost` has here. `free` listens for a moment.
fn choose(
    localhost: &[IpAddr],
    loopback: IpAddr,
    free: impl Fn(IpAddr, u16) -> io::Result<SocketAddr>,
) -> Option<SocketAddr> {
    // The collector listens on the first IPv4 address of a name, if it has one.
    let named = localhost.iter().find(|ip| ip.is_ipv4()).or(localhost.first());
    let elsewhere = match named.map(|ip| free(*ip, METRICS)) {
        Some(Ok(_)) => return None,
        Some(Err(error)) => error.kind() == io::ErrorKind::AddrInUse,
        None => false,
    };
    // Where the name is the trouble, the port stays: configs that scrape the collector itself rely on it.
    let same = (!elsewhere).then(|| free(loopback, METRICS).ok()).flatten();
    same.or_else(|| free(loopback, 0).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    /// The choice on a host that has these addresses, with this port taken on all of them.
    fn chosen(localhost: &[IpAddr], has: &[IpAddr], taken: Option<u16>) -> Option<String> {
        let free = |ip: IpAddr, port: u16| match port {
            _ if !has.contains(&ip) => Err(io::ErrorKind::AddrNotAvailable.into()),
            port if taken == Some(port) => Err(io::ErrorKind::AddrInUse.into()),
            0 => Ok(SocketAddr::new(ip, 40_000)),
            port => Ok(SocketAddr::new(ip, port)),
        };
        choose(localhost, has[0], free).map(|address| address.to_string())
    }

    #[test]
    fn the_port_of_the_collectors_own_metrics_stays_where_it_is_free() {
        assert_eq!(chosen(&[V4], &[V4], None), None);
        assert_eq!(chosen(&[V6, V4], &[V4, V6], None), None);
        assert_eq!(chosen(&[], &[V4], None).as_deref(), Some("127.0.0.1:8888"), "localhost does not resolve");
        assert_eq!(chosen(&[], &[V6], None).as_deref(), Some("[::1]:8888"), "and there is no IPv4");
        assert_eq!(chosen(&[V6], &[V4], None).as_deref(), Some("127.0.0.1:8888"), "it resolves to what is not there");
        assert_eq!(chosen(&[V4], &[V6], None).as_deref(), Some("[::1]:8888"), "likewise");
    }

    #[test]
    fn another_port_is_chosen_only_where_it_is_taken() {
        assert_eq!(chosen(&[V4], &[V4], Some(8888)).as_deref(), Some("127.0.0.1:40000"));
        assert_eq!(chosen(&[], &[V4], Some(8888)).as_deref(), Some("127.0.0.1:40000"));
        assert_eq!(chosen(&[V4], &[V4], Some(9999)), None);
    }

    #[test]
    fn the_ports_differ() {
        let Loopback { ip, ports: [one, other], .. } = find().unwrap();
        assert!(ip.is_loopback() && one != other);
    }
}
