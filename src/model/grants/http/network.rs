//! Ranges of addresses, and those that guests may not reach by themselves.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Not an address, or not one with a length.
    #[error("'{0}' is no network: it is an address, or an address and a length as in 10.0.0.0/8")]
    NotANetwork(String),
    /// Most often a mistake about the length.
    #[error("'{0}' has bits after its length: {1} is the network that it lies in")]
    BitsAfterLength(String, Network),
}

impl Network {
    /// Whether an address lies in it. An IPv4 address in IPv6 clothes is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let shift = u32::BITS.saturating_sub(self.bits.into());
                (first.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let shift = u128::BITS.saturating_sub(self.bits.into());
                (first.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    fn around(address: IpAddr, bits: u8) -> Self {
        let first = match address {
            IpAddr::V4(address) => {
                let shift = u32::BITS.saturating_sub(bits.into());
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(shift).unwrap_or(0)))
            }
            IpAddr::V6(address) => {
                let shift = u128::BITS.saturating_sub(bits.into());
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(shift).unwrap_or(0)))
            }
        };
        Self { first, bits }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let wrong = || InvalidNetwork::NotANetwork(super::path::cut(text).to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most: u8 = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|number: &u8| number.to_string() == bits).ok_or_else(wrong)?,
        };
        // A mapped range would never match: addresses are compared in their own form.
        if bits > most || address != address.to_canonical() {
            return Err(wrong());
        }
        let network = Self::around(address, bits);
        if network.first == address {
            Ok(network)
        } else {
            Err(InvalidNetwork::BitsAfterLength(super::path::cut(text).to_owned(), network))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// What is special about an address, so that guests may not reach it; `None` for a public one, and for one in a network of
/// `open`. An address that carries an IPv4 address has to pass with that one, too.
#[must_use]
pub fn special_range(address: IpAddr, open: &[Network]) -> Option<&'static str> {
    let address = address.to_canonical();
    let range = match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    };
    match range {
        Some(range) if !open.iter().any(|network| network.contains(address)) => Some(range),
        Some(_) | None => carried(address).and_then(|carried| special_range(IpAddr::V4(carried), open)),
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Network {
    Network { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
}

const fn v6(first: [u16; 3], bits: u8) -> Network {
    let [a, b, c] = first;
    Network { first: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), bits }
}

/// The IANA registry of special-purpose IPv4 addresses, without those that anyone may reach; and one address of a cloud that
/// looks like any other.
const SPECIAL_V4: [(Network, &str); 17] = [
    (v4(0, 0, 0, 0, 8), "unspecified"),
    (v4(10, 0, 0, 0, 8), "a private address"),
    (v4(100, 64, 0, 0, 10), "a shared address of a carrier"),
    (v4(127, 0, 0, 0, 8), "a loopback address"),
    (v4(168, 63, 129, 16, 32), "a cloud's own service"),
    (v4(169, 254, 0, 0, 16), "a link-local address, where clouds keep the credentials of machines"),
    (v4(172, 16, 0, 0, 12), "a private address"),
    (v4(192, 0, 0, 0, 24), "reserved for protocols"),
    (v4(192, 0, 2, 0, 24), "reserved for documentation"),
    (v4(192, 88, 99, 0, 24), "reserved for relays"),
    (v4(192, 168, 0, 0, 16), "a private address"),
    (v4(198, 18, 0, 0, 15), "reserved for benchmarks"),
    (v4(198, 51, 100, 0, 24), "reserved for documentation"),
    (v4(203, 0, 113, 0, 24), "reserved for documentation"),
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(255, 255, 255, 255, 32), "the broadcast address"),
    (v4(240, 0, 0, 0, 4), "a reserved address"),
];

/// The only part of IPv6 from which public addresses are given out.
const PUBLIC_V6: Network = v6([0x2000, 0, 0], 3);

/// What is special within that part.
const SPECIAL_V6: [(Network, &str); 4] = [
    (v6([0x2001, 0, 0], 23), "reserved for protocols"),
    (v6([0x2001, 0xdb8, 0], 32), "reserved for documentation"),
    (v6([0x2002, 0, 0], 16), "an address that carries an IPv4 address (6to4)"),
    (v6([0x3fff, 0, 0], 20), "reserved for documentation"),
];

/// What is special outside of it, for the message; whatever is not here is special, too.
const OUTSIDE_V6: [(Network, &str); 6] = [
    (v6([0x64, 0xff9b, 0], 96), "an address that carries an IPv4 address (NAT64)"),
    (v6([0x64, 0xff9b, 1], 48), "an address that carries an IPv4 address (NAT64)"),
    (v6([0xfc00, 0, 0], 7), "a private address"),
    (v6([0xfe80, 0, 0], 10), "a link-local address"),
    (v6([0xfec0, 0, 0], 10), "a private address"),
    (v6([0xff00, 0, 0], 8), "a multicast address"),
];

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    named(&SPECIAL_V4, IpAddr::V4(address))
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let whole = IpAddr::V6(address);
    if PUBLIC_V6.contains(whole) {
        return named(&SPECIAL_V6, whole);
    }
    let word = if address.is_loopback() {
        "a loopback address"
    } else if address.is_unspecified() {
        "unspecified"
    } else {
        named(&OUTSIDE_V6, whole).unwrap_or("a reserved address")
    };
    Some(word)
}

fn named(table: &[(Network, &'static str)], address: IpAddr) -> Option<&'static str> {
    table.iter().find(|(network, _)| network.contains(address)).map(|(_, word)| *word)
}

/// The IPv4 address within an IPv6 address that is forwarded to it.
fn carried(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let [a, b, c, d, e, f, g, h] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match (a, b) {
        // 6to4.
        (0x2002, high) => Some(join(high, c)),
        // NAT64.
        (0x64, 0xff9b) => Some(join(g, h)),
        // Teredo: the client's address, inverted.
        (0x2001, 0) => Some(join(!g, !h)),
        // "IPv4-compatible"; `::` and `::1` are addresses of their own.
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0) && address.to_bits() > 1 => Some(join(g, h)),
        _ => None,
    }
}
