//! Networks, by address and prefix (CIDR: RFC 4632 and RFC 4291, section 2.3).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Whom an address stands for where callers are told apart by it: of IPv6 the first address of its
/// network of 64 bits, as whoever has one has all of these. IPv4 inside of IPv6 is IPv4.
pub fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// A network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    first: u128,
    /// Bits that all its addresses share, of 128.
    prefix: u32,
    is_v4: bool,
}

/// Text for a person: what a network must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// There is no address in it.
    #[error("not an address")]
    Address,
    /// The number behind the slash is none, or too large.
    #[error("the prefix is a number up to 32, or 128 for IPv6")]
    Prefix,
    /// There is more in the address than the network, as in `10.1.2.3/8`.
    #[error("bits are set behind the prefix")]
    HostBits,
}

impl Network {
    /// Whether an address is in it. One of IPv4 that is written as IPv6 is one of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, is_v4) = bits(address);
        is_v4 == self.is_v4 && masked(bits, self.prefix) == self.first
    }
}

/// An address as 128 bits: those of IPv4 have theirs last, as in `::ffff:192.0.2.7`.
fn bits(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), true),
        IpAddr::V6(address) => (address.to_bits(), false),
    }
}

const fn masked(bits: u128, prefix: u32) -> u128 {
    match u128::MAX.checked_shl(128 - prefix) {
        Some(mask) => bits & mask,
        None => 0,
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let (first, is_v4) = bits(address);
        // Written as IPv6, an address of IPv4 would have a prefix of either kind.
        if is_v4 && address.is_ipv6() {
            return Err(NetworkError::Address);
        }
        let most = if is_v4 { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                let prefix = digits.parse().ok().filter(|&prefix| prefix <= most);
                prefix.ok_or(NetworkError::Prefix)?
            }
            Some(_) => return Err(NetworkError::Prefix),
        };
        let prefix = prefix + 128 - most;
        if masked(first, prefix) != first {
            return Err(NetworkError::HostBits);
        }
        Ok(Self {
            first,
            prefix,
            is_v4,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = std::net::Ipv6Addr::from_bits(self.first);
        if self.is_v4 {
            let address = IpAddr::V6(address).to_canonical();
            write!(f, "{address}/{}", self.prefix - 96)
        } else {
            write!(f, "{address}/{}", self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_in_their_networks_and_in_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            ("fd00::/8", "fd12::1", "fe00::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ] {
            let network: Network = network.parse().expect("a network");
            assert!(network.contains(inside.parse().unwrap()), "{network}");
            assert!(!network.contains(outside.parse().unwrap()), "{network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for (text, error) in [
            ("", NetworkError::Address),
            ("10.0.0", NetworkError::Address),
            ("::ffff:10.0.0.0/104", NetworkError::Address),
            ("10.0.0.0/", NetworkError::Prefix),
            ("10.0.0.0/+8", NetworkError::Prefix),
            ("10.0.0.0/33", NetworkError::Prefix),
            ("::/129", NetworkError::Prefix),
            ("10.1.0.0/8", NetworkError::HostBits),
            ("fd00::1/8", NetworkError::HostBits),
        ] {
            assert_eq!(text.parse::<Network>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_is_written(address: [u8; 16], v4: bool, prefix in 0u32..=128) {
            let address = if v4 {
                IpAddr::from([address[0], address[1], address[2], address[3]])
            } else {
                IpAddr::from(address)
            };
            if let Ok(network) = format!("{address}/{prefix}").parse::<Network>() {
                prop_assert_eq!(network.to_string().parse(), Ok(network));
                prop_assert!(network.contains(address));
            }
        }
    }
}
