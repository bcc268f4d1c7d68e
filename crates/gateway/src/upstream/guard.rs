//! Which addresses an upstream may have, looked at after its name was resolved, so that whoever
//! answers for the name cannot lead the gateway, and the keys it sends, into its own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far the name of an upstream may lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// To addresses of the internet.
    #[default]
    Public,
    /// To those of private networks and of this machine, too.
    Private,
    /// To all, also where clouds give their machines credentials.
    LinkLocal,
}

impl Reach {
    /// How far it is to `address`, by the registries of special addresses (RFC 6890), the most
    /// private one that it could mean.
    pub fn to(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// How far an upstream may lead of which the operator wrote `host`: an address is meant as it
    /// stands there, and so is `localhost`.
    #[must_use]
    pub fn as_written(self, host: &str) -> Self {
        let name = host.trim_end_matches('.');
        let is_here = name == "localhost" || name.ends_with(".localhost");
        if is_here || host.parse::<IpAddr>().is_ok() {
            self.max(Self::Private)
        } else {
            self
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    let metadata = [
        // Alibaba, Oracle and Azure have theirs elsewhere.
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(192, 0, 0, 192),
        Ipv4Addr::new(168, 63, 129, 16),
    ];
    if address.is_link_local() || metadata.contains(&address) {
        return Reach::LinkLocal;
    }
    let is_private = a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_documentation()
        // Shared by a provider's customers.
        || a == 100 && b & 0xc0 == 64
        // For protocols, and for measuring.
        || (a, b, c) == (192, 0, 0)
        || a == 198 && b & 0xfe == 18
        // Multicast, reserved, broadcast.
        || a >= 224;
    if is_private {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    // An address of version 4 inside of one of NAT64 or 6to4 is where it leads.
    let [a, b, middle @ .., high, low] = address.segments();
    let v4 =
        |high: u16, low: u16| of_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        (0x64, 0xff9b) if middle == [0; 4] => return v4(high, low),
        (0x2002, _) => return v4(b, middle[0]),
        _ => {}
    }
    // The second one is AWS's.
    if address.is_unicast_link_local()
        || address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
    {
        return Reach::LinkLocal;
    }
    // All that was given out for the internet is in 2000::/3.
    let is_global = a & 0xe000 == 0x2000;
    // Protocols (Teredo among them), and documentation.
    let is_special = a == 0x2001 && (b < 0x200 || b == 0xdb8) || a & 0xfff0 == 0x3ff0;
    if is_global && !is_special {
        Reach::Public
    } else {
        Reach::Private
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to(address: &str) -> Reach {
        Reach::to(address.parse().expect(address))
    }

    #[test]
    fn addresses_are_as_far_as_the_registries_say() {
        for address in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert_eq!(to(address), Reach::Public, "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert_eq!(to(address), Reach::Private, "{address}");
        }
        for address in [
            "169.254.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
        ] {
            assert_eq!(to(address), Reach::LinkLocal, "{address}");
        }
    }

    #[test]
    fn what_the_operator_wrote_as_an_address_is_meant() {
        for (host, reach) in [
            ("api.openai.com", Reach::Public),
            ("localhost.example.com", Reach::Public),
            ("notlocalhost", Reach::Public),
            ("ollama", Reach::Public),
            ("localhost", Reach::Private),
            ("localhost.", Reach::Private),
            ("models.localhost", Reach::Private),
            ("127.0.0.1", Reach::Private),
            ("10.1.2.3", Reach::Private),
            ("::1", Reach::Private),
            // An address, but not for what stands at it.
            ("169.254.169.254", Reach::Private),
        ] {
            assert_eq!(Reach::Public.as_written(host), reach, "{host}");
            assert_eq!(Reach::LinkLocal.as_written(host), Reach::LinkLocal);
        }
    }

    proptest! {
        #[test]
        fn an_address_within_another_is_as_far_as_it_is(v4: [u8; 4]) {
            let v4 = Ipv4Addr::from(v4);
            let [a, b, c, d] = v4.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let reach = Reach::to(v4.into());
            prop_assert_eq!(Reach::to(v4.to_ipv6_mapped().into()), reach);
            let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low);
            prop_assert_eq!(Reach::to(nat64.into()), reach);
            let six_to_four = Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1);
            prop_assert_eq!(Reach::to(six_to_four.into()), reach);
        }
    }
}
