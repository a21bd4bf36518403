//! Webhooks: whom to tell of which events, how often it is tried, and which addresses are told nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Webhooks of one tenant: each costs a look at every event.
pub const WEBHOOKS_MAX: usize = 100;

/// Kinds of events of one webhook.
pub const KINDS_MAX: usize = 32;

/// The longest address.
pub const URL_LEN_MAX: usize = 2_000;

/// The shortest and the longest secret, in bytes, as Standard Webhooks asks for.
pub const SECRET_LEN: std::ops::RangeInclusive<usize> = 24..=64;

/// The pauses after each attempt that failed: eleven attempts over a day.
const PAUSES_SECONDS: [u64; 10] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800];

/// How long to wait after the `attempt`-th attempt, from 1, before the next one; `None` after the last.
#[must_use]
pub fn pause_after(attempt: u32) -> Option<Duration> {
    let place = usize::try_from(attempt.checked_sub(1)?).ok()?;
    PAUSES_SECONDS.get(place).map(|seconds| Duration::from_secs(*seconds))
}

/// What is special about an address that is not one of the public internet; such a one may be a neighbour's or the operator's
/// own. After the special-purpose registries of IANA.
#[must_use]
pub fn special_range(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [first, second, third, _] = address.octets();
    Some(match (first, second, third) {
        (0, ..) => "this network",
        (127, ..) => "this machine",
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => "a private network",
        (100, 64..=127, _) => "a carrier's network",
        (169, 254, _) => "link-local, where clouds keep their metadata",
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (198, 18 | 19, _) | (192, 88, 99) => "reserved",
        (224..=239, ..) => "multicast",
        (240..=255, ..) => "reserved",
        _ => return None,
    })
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    Some(match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => "this network",
        [0, 0, 0, 0, 0, 0, 0, 1] => "this machine",
        [0xfc00..=0xfdff, ..] => "a private network",
        [0xfe80..=0xfeff, ..] => "link-local",
        [0xff00..=0xffff, ..] => "multicast",
        // Only a eighth of all addresses is given out; within it, some stand for IPv4 ones or for documentation.
        [0x2002, ..] | [0x2001, 0..=0x01ff | 0x0db8, ..] => "reserved",
        [0x2000..=0x3fff, ..] => return None,
        _ => "reserved",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_for_a_day() {
        let pauses: Vec<Duration> = (1..).map_while(pause_after).collect();
        let total: Duration = pauses.iter().sum();
        assert_eq!((pauses.len(), pause_after(0), pause_after(u32::MAX)), (10, None, None));
        assert!(
            pauses.is_sorted() && total > Duration::from_secs(23 * 3_600) && total < Duration::from_secs(25 * 3_600)
        );
    }

    #[test]
    fn addresses_of_the_public_internet_are_told_and_others_are_not() {
        for public in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"] {
            assert_eq!(special_range(public.parse().unwrap()), None, "{public}");
        }
        for special in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2001:db8::1",
            "2002:7f00:1::",
            "4000::1",
        ] {
            assert!(special_range(special.parse().unwrap()).is_some(), "{special}");
        }
    }
}
