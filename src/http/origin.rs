//! Where a request comes from, as far as limits are concerned: a client's address, told by the connection or by a proxy
//! that is trusted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An address; of IPv6 the network of 64 bits, which is the least that one party has to itself.
    Address(IpAddr),
    /// A trusted proxy, or a program beside it, that speaks for nobody else.
    Ours,
}

/// Proxies whose word about the client's address is taken.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Networks in CIDR notation or addresses, separated by commas; nothing if one of them is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let named = text.split(',').map(str::trim).filter(|net| !net.is_empty());
        let nets = named.map(|net| net.parse().or_else(|_| net.parse::<IpAddr>().map(IpNet::from)).ok());
        nets.collect::<Option<_>>().map(Self)
    }

    /// Whether `address` is one of them.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Where a request comes from that `peer` has sent. What other peers than proxies say is not heard.
    pub fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> Origin {
        if !self.trust(peer) {
            return Origin::Address(network(peer));
        }
        let forwarded = self.nearest_stranger(headers, &header::FORWARDED, forwarded_for);
        let by_the_old_header = self.nearest_stranger(headers, &X_FORWARDED_FOR, node);
        match (forwarded, by_the_old_header) {
            (None, None) => Origin::Ours,
            (Some(Ok(origin)), None) | (None, Some(Ok(origin))) => origin,
            // A proxy that writes one of the two lets the other through as the client has sent it.
            (Some(Ok(one)), Some(Ok(other))) if one == other => one,
            _ => Origin::Address(network(peer)),
        }
    }

    /// The last hop that is not trusted: what stands before it may be made up. Nothing if there is no such header.
    fn nearest_stranger(
        &self,
        headers: &HeaderMap,
        name: &HeaderName,
        read: impl Fn(&str) -> Option<IpAddr>,
    ) -> Option<Result<Origin, Unreadable>> {
        let lines: Vec<_> = headers.get_all(name).collect();
        if lines.is_empty() {
            return None;
        }
        for line in lines.into_iter().rev() {
            let Ok(line) = line.to_str() else { return Some(Err(Unreadable)) };
            for hop in line.rsplit(',') {
                match read(hop) {
                    Some(address) if self.trust(address) => {}
                    Some(address) => return Some(Ok(Origin::Address(network(address)))),
                    None => return Some(Err(Unreadable)),
                }
            }
        }
        Some(Ok(Origin::Ours))
    }
}

/// A hop that is no address.
struct Unreadable;

/// The address in the `for` of one hop (RFC 7239, 5.2).
fn forwarded_for(hop: &str) -> Option<IpAddr> {
    let mut parameters = hop.split(';').filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    node(value)
}

/// An address with or without its port, as RFC 7239, 6, or the older header write it.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn origin(peer: &str, lines: &[(&str, &str)]) -> String {
        let proxies = Proxies::parse("127.0.0.0/8, ::1, 10.0.0.0/8, fd00::/8").expect("networks");
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        match proxies.origin(peer.parse().expect("an address"), &headers) {
            Origin::Address(address) => address.to_string(),
            Origin::Ours => "ours".into(),
        }
    }

    #[test]
    fn only_proxies_that_are_trusted_are_heard() {
        for header in ["x-forwarded-for", "forwarded"] {
            let value = if header == "forwarded" { "for=198.51.100.7" } else { "198.51.100.7" };
            assert_eq!(origin("203.0.113.9", &[(header, value)]), "203.0.113.9");
            assert_eq!(origin("10.1.2.3", &[(header, value)]), "198.51.100.7");
            assert_eq!(origin("::ffff:10.1.2.3", &[(header, value)]), "198.51.100.7");
        }
        assert_eq!(origin("10.1.2.3", &[]), "ours");
        assert_eq!(
            Proxies::default().origin(IpAddr::from([127, 0, 0, 1]), &HeaderMap::new()),
            Origin::Address(IpAddr::from([127, 0, 0, 1]))
        );
    }

    #[test]
    fn what_a_client_puts_before_the_words_of_its_proxy_is_not_heard() {
        let lines = [("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "198.51.100.7, 10.0.0.5")];
        assert_eq!(origin("10.1.2.3", &lines), "198.51.100.7");
        assert_eq!(origin("10.1.2.3", &[("x-forwarded-for", "what, 198.51.100.7")]), "198.51.100.7");
        let forwarded = "for=1.1.1.1;proto=https, For=\"198.51.100.7:4711\";by=10.0.0.5, for=10.0.0.5";
        assert_eq!(origin("10.1.2.3", &[("forwarded", forwarded)]), "198.51.100.7");
        // A proxy that writes the one and passes on the other.
        let both = [("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=1.1.1.1")];
        assert_eq!(origin("10.1.2.3", &both), "10.1.2.3");
        let agreeing = [("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=198.51.100.7")];
        assert_eq!(origin("10.1.2.3", &agreeing), "198.51.100.7");
    }

    #[test]
    fn a_hop_that_is_no_address_counts_for_the_proxy() {
        for value in ["unknown", "", "300.1.1.1", "198.51.100.7,", "[::1", "198.51.100.7:x"] {
            assert_eq!(origin("10.1.2.3", &[("x-forwarded-for", value)]), "10.1.2.3", "{value}");
        }
        for value in ["for=_hidden", "proto=https", "for=unknown", "by=198.51.100.7"] {
            assert_eq!(origin("10.1.2.3", &[("forwarded", value)]), "10.1.2.3", "{value}");
        }
        assert_eq!(origin("10.1.2.3", &[("x-forwarded-for", "10.0.0.7")]), "ours");
    }

    #[test]
    fn of_ipv6_the_network_counts() {
        for peer in ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"] {
            assert_eq!(origin(peer, &[]), "2001:db8:1:2::");
        }
        assert_eq!(origin("fd00::1", &[("forwarded", "for=\"[2001:db8:1:2:3::4]:4711\"")]), "2001:db8:1:2::");
        assert_eq!(origin("fd00::1", &[("forwarded", "for=\"[2001:db8:1:2:3::4]\"")]), "2001:db8:1:2::");
        assert_eq!(origin("fd00::1", &[("x-forwarded-for", "2001:db8:1:2:3::4")]), "2001:db8:1:2::");
    }

    #[test]
    fn networks_are_read_whole_or_not_at_all() {
        assert!(Proxies::parse("").is_some_and(|none| !none.trust(IpAddr::from([127, 0, 0, 1]))));
        for bad in ["10.0.0.0/33", "localhost", "10.0.0.1, x", "*"] {
            assert!(Proxies::parse(bad).is_none(), "{bad}");
        }
    }
}
