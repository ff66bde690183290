//! Where webhooks may lead: to what is public, and to networks inside only where whoever runs the service says so. The
//! same function judges an address that stands in a URL and one that a name stands for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use reqwest::Url;

/// The longest URL, in bytes.
pub const LONGEST_URL_B: usize = 2_048;

/// The first of the ports that are nobody's by custom, and may be led to.
const FIRST_FREE_PORT: u16 = 1_024;

/// Networks inside that webhooks may lead to, and over plain HTTP, too.
#[derive(Debug, Clone, Default)]
pub struct Egress(Vec<IpNet>);

impl Egress {
    /// Networks in CIDR notation or addresses, separated by commas; nothing if one of them is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let named = text.split(',').map(str::trim).filter(|net| !net.is_empty());
        let nets = named.map(|net| net.parse().or_else(|_| net.parse::<IpAddr>().map(IpNet::from)).ok());
        nets.collect::<Option<_>>().map(Self)
    }

    /// Whether `address` is in one of these networks, or stands for one that is.
    pub fn opens(&self, address: IpAddr) -> bool {
        let is_open = |address: IpAddr| self.0.iter().any(|net| net.contains(&address));
        is_open(address) || behind(address).is_some_and(|inner| is_open(inner.into()))
    }

    /// Whether a connection to `address` may be made: over plain HTTP only to networks that are opened.
    pub fn permits(&self, address: IpAddr, is_plain: bool) -> bool {
        self.opens(address) || !is_plain && is_public(address)
    }
}

/// The address of IPv4 that one of IPv6 stands for: mapped (RFC 4291, 2.5.5.2), 6to4 (RFC 3056), or translated by NAT64
/// under the prefix that all know (RFC 6052).
fn behind(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let (bytes, parts) = (address.octets(), address.segments());
    let at = |nth: usize| Ipv4Addr::new(bytes[nth], bytes[nth + 1], bytes[nth + 2], bytes[nth + 3]);
    match parts {
        [0x2002, ..] => Some(at(2)),
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(at(12)),
        _ => None,
    }
}

/// Whether `address` is one that anybody can be reached at, by the registries of special addresses (RFC 6890) as they
/// stand: not of this machine, of a network inside, of one link, of many, for documents or tests, or kept for later.
pub fn is_public(address: IpAddr) -> bool {
    match (address, behind(address)) {
        (IpAddr::V4(address), _) | (_, Some(address)) => is_public_v4(address),
        (IpAddr::V6(address), None) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [169, 254, ..]
            | [192, 168, ..]
            | [172, 16..=31, ..]
            | [100, 64..=127, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // For protocols, tests and tunnels, among them Teredo, behind which there is an address of IPv4.
        [0x2001, 0..=0x1ff, ..] => false,
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

/// Where a webhook leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookTarget(Url);

/// Whether a user or a password is written before the host, be it an empty one, which a parsed URL does not show.
fn has_user_info(text: &str) -> bool {
    let (_, rest) = text.split_once(':').unwrap_or_default();
    let authority = rest.trim_start_matches(['/', '\\']).split(['/', '\\', '?', '#']).next();
    authority.is_some_and(|authority| authority.contains('@'))
}

impl WebhookTarget {
    /// The target at `text`, if it may be one. What an address in it is written like makes no difference.
    ///
    /// # Errors
    /// What it should be.
    pub fn parse(text: &str, egress: &Egress) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "must be a URL such as https://example.org/hook")?;
        let is_plain = match url.scheme() {
            "https" => false,
            "http" if !egress.0.is_empty() => true,
            _ => return Err("must begin with https://"),
        };
        if url.as_str().len() > LONGEST_URL_B {
            return Err("must have at most 2048 bytes");
        }
        if has_user_info(text) {
            return Err("must have no user and no password: what is sent is signed");
        }
        if url.fragment().is_some() {
            return Err("must have no fragment: it would not be sent");
        }
        let usual = if is_plain { 80 } else { 443 };
        if !url.port_or_known_default().is_some_and(|port| port == usual || port >= FIRST_FREE_PORT) {
            return Err("must have the usual port or one from 1024 on");
        }
        let target = Self(url);
        match target.literal() {
            Some(address) if !egress.permits(address, is_plain) => Err("leads to an address that is not public"),
            None if target.0.host_str().is_none_or(str::is_empty) => Err("must name a host"),
            _ => Ok(target),
        }
    }

    /// The address that it names, if it names one instead of a host; of this very machine, whatever it is called.
    fn literal(&self) -> Option<IpAddr> {
        let host = self.0.host_str().unwrap_or_default();
        let name = host.trim_end_matches('.');
        if name == "localhost" || name.ends_with(".localhost") {
            return Some(Ipv4Addr::LOCALHOST.into());
        }
        host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Whether it is spoken to without TLS.
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(nets: &str) -> Egress {
        Egress::parse(nets).expect("networks")
    }

    fn is_taken(url: &str) -> bool {
        WebhookTarget::parse(url, &Egress::default()).is_ok()
    }

    /// Special addresses of IPv4 by their registry, as networks.
    const SPECIAL: &str = "0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,192.0.2.0/24,\
        192.88.99.0/24,192.168.0.0/16,198.18.0.0/15,198.51.100.0/24,203.0.113.0/24,224.0.0.0/4,240.0.0.0/4";

    fn special() -> impl Strategy<Value = Ipv4Addr> {
        let nets: Vec<ipnet::Ipv4Net> = SPECIAL.split(',').map(|net| net.trim().parse().expect("a network")).collect();
        (proptest::sample::select(nets), any::<u32>())
            .prop_map(|(net, host)| Ipv4Addr::from(u32::from(net.network()) | host & u32::from(net.hostmask())))
    }

    fn disguises(inner: Ipv4Addr) -> [Ipv6Addr; 3] {
        let [a, b, c, d] = inner.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        [
            inner.to_ipv6_mapped(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        ]
    }

    proptest! {
        #[test]
        fn an_address_is_public_or_in_the_registry(bits: u32) {
            let address = Ipv4Addr::from(bits);
            let listed = open(SPECIAL).opens(address.into());
            prop_assert_eq!(is_public(address.into()), !listed);
            for disguise in disguises(address) {
                prop_assert_eq!(is_public(disguise.into()), !listed, "{}", disguise);
            }
        }

        #[test]
        fn nothing_special_is_led_to_however_it_is_written(inner in special(), port in 1024u16.., path in "[a-z/?=&]{0,9}") {
            let [a, b, c, d] = inner.octets();
            let number = u32::from(inner);
            let mut hosts = vec![
                inner.to_string(), format!("{inner}."), number.to_string(), format!("0x{number:x}"), format!("0{number:o}"),
                format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"), format!("0x{a:x}.{b}.0{c:o}.{d}"), format!("{a}.{}", number & 0xff_ffff),
                format!("{a}.{b}.{}", number & 0xffff),
                // Digits of another width.
                inner.to_string().chars().map(|c| c.to_digit(10).and_then(|n| char::from_u32(0xff10 + n)).unwrap_or(c)).collect(),
            ];
            hosts.extend(disguises(inner).map(|disguise| format!("[{disguise}]")));
            for host in hosts {
                let url = format!("https://{host}:{port}/{path}");
                prop_assert!(!is_taken(&url), "{}", url);
                // Where its network is opened, it is, over plain HTTP, too, and under each disguise.
                let egress = open(SPECIAL);
                prop_assert!(WebhookTarget::parse(&url, &egress).is_ok(), "{}", url);
                prop_assert!(WebhookTarget::parse(&url.replace("https", "http"), &egress).is_ok(), "{}", url);
            }
        }

        #[test]
        fn any_text_is_refused_or_leads_to_something_public(text in "\\PC{0,40}", scheme in "(https?|ftp|file)://") {
            for text in [text.clone(), format!("{scheme}{text}")] {
                if let Ok(target) = WebhookTarget::parse(&text, &Egress::default()) {
                    prop_assert!(!target.is_plain() && target.url().username().is_empty());
                    prop_assert!(target.literal().is_none_or(is_public));
                    // What is stored is what was judged.
                    prop_assert_eq!(WebhookTarget::parse(target.url().as_str(), &Egress::default()), Ok(target));
                }
            }
        }

        #[test]
        fn of_ipv6_only_global_unicast_is_public(bits: u128) {
            let address = Ipv6Addr::from(bits);
            if is_public(address.into()) {
                prop_assert!(behind(address.into()).is_some() || bits >> 125 == 1, "{}", address);
            }
        }
    }

    #[test]
    fn special_addresses_of_ipv6_are_not_public() {
        for special in [
            "::",
            "::1",
            "::10.0.0.1",
            "::8.8.8.8",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(special.parse().expect("an address")), "{special}");
            assert!(!is_taken(&format!("https://[{special}]/")), "{special}");
        }
        for public in ["2606:4700:4700::1111", "2a00:1450:4001:80f::200e", "2001:4860:4860::8888", "2001:200::1"] {
            assert!(is_taken(&format!("https://[{public}]/")), "{public}");
        }
    }

    #[test]
    fn what_a_url_may_be() {
        for fine in [
            "https://example.org",
            "https://example.org:8443/hook?token=1",
            "https://EXAMPLE.org./",
            "https://bücher.example/",
            "https://8.8.8.8/",
            "https://hook/",
            "https://example.org:443/",
        ] {
            assert!(is_taken(fine), "{fine}");
        }
        let long = format!("https://example.org/{}", "a".repeat(LONGEST_URL_B));
        for bad in [
            "",
            "example.org",
            "//example.org/",
            "http://example.org/",
            "ftp://example.org/",
            "https:///",
            "https://user@example.org/",
            "https://:secret@example.org/",
            "https://@example.org/",
            "https:\\\\:@example.org/",
            "https://example.org/#there",
            "https://example.org:80/",
            "https://example.org:22/",
            "https://example.org:1023/",
            "https://example.org:0/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost:8443/",
            "https://127.1/",
            "https://0/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://[::ffff:169.254.169.254]/",
            "https://169.254.169.254/latest/meta-data",
            "https:\\\\127.0.0.1\\",
            "https://127.0.0.1%2f.example.org/",
            &long,
        ] {
            assert!(!is_taken(bad), "{bad}");
        }
    }

    #[test]
    fn plain_http_leads_only_where_it_is_opened() {
        let egress = open("10.0.0.0/8, 127.0.0.1, fd00::/8");
        for fine in
            ["http://10.1.2.3/", "http://127.0.0.1:9000/", "http://[fd00::1]/", "http://localhost/", "http://hook/"]
        {
            assert!(WebhookTarget::parse(fine, &egress).is_ok(), "{fine}");
        }
        for bad in [
            "http://8.8.8.8/",
            "http://192.168.0.1/",
            "https://192.168.0.1/",
            "http://127.0.0.2/",
            "http://10.1.2.3:443/",
        ] {
            assert!(WebhookTarget::parse(bad, &egress).is_err(), "{bad}");
        }
        assert!(egress.permits([10, 0, 0, 1].into(), true) && !egress.permits([8, 8, 8, 8].into(), true));
        assert!(egress.permits([8, 8, 8, 8].into(), false) && !egress.permits([192, 168, 0, 1].into(), false));
        assert!(Egress::parse("10.0.0.0/8,nonsense").is_none() && Egress::parse("").is_some());
    }
}
