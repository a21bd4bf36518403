//! What a module may reach: networks against a plain model of bits, and grants and what operators allow as people write them.
#![cfg(test)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lovage::model::grants::{
    Access, Allow, CONFIG_VALUE_BYTES_MAX, GRANTS_MAX, Grant, Grants, Host, HttpRule, KEY_BYTES_MAX, Network, is_key,
    special_range,
};
use proptest::prelude::*;

use super::config;

/// The bits of an address, the first one first.
fn bits(address: IpAddr) -> Vec<bool> {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical()),
    ]
}

proptest! {
    #![proptest_config(config())]

    /// An address lies in a network if they begin with the same bits.
    #[test]
    fn a_network_holds_what_begins_with_its_bits(first in address(), length in 0..=128_u8, flip in 0..128_usize, other in address()) {
        let all = bits(first);
        let length = usize::from(length) % (all.len() + 1);
        let network = match format!("{first}/{length}").parse::<Network>() {
            Ok(network) => {
                prop_assert!(all[length..].iter().all(|bit| !bit), "{network} has bits after its length");
                network
            }
            Err(error) => {
                prop_assert!(all[length..].contains(&true), "{error}");
                // The refusal names the network that was meant.
                let told = error.to_string();
                let meant = told.split(": ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
                meant.parse().unwrap()
            }
        };
        prop_assert!(network.contains(first));
        prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
        let same = |other: &[bool]| other.len() == all.len() && other[..length] == all[..length];
        prop_assert_eq!(network.contains(other), same(&bits(other)), "{} in {}", other, network);
        // The same address with one bit changed.
        let mut near = all.clone();
        let flip = flip % near.len();
        near[flip] = !near[flip];
        let near = match near.len() {
            32 => IpAddr::V4(Ipv4Addr::from_bits(near.iter().fold(0, |sum, bit| sum << 1 | u32::from(*bit)))),
            _ => IpAddr::V6(Ipv6Addr::from_bits(near.iter().fold(0, |sum, bit| sum << 1 | u128::from(*bit)))),
        };
        if near == near.to_canonical() {
            prop_assert_eq!(network.contains(near), flip >= length, "{} in {}", near, network);
        }
    }

    /// A network that an operator opens opens nothing else.
    #[test]
    fn an_open_network_opens_what_lies_in_it(at in any::<u32>(), length in 8..=32_u8) {
        let address = IpAddr::V4(Ipv4Addr::from_bits(at));
        let shift = 32 - u32::from(length);
        let first = Ipv4Addr::from_bits(u32::MAX.checked_shl(shift).unwrap_or(0) & at);
        let open: Network = format!("{first}/{length}").parse().unwrap();
        prop_assert_eq!(special_range(address, &[open]), None);
        let beside = IpAddr::V4(Ipv4Addr::from_bits(at ^ (1 << shift)));
        prop_assert_eq!(special_range(beside, &[open]), special_range(beside, &[]));
    }

    #[test]
    fn a_host_of_a_request_has_one_form(text in "[a-zA-Z0-9.-]{1,12}|[0-9]{1,3}(\\.[0-9]{1,3}){0,4}|\\[[0-9a-f:.]{2,12}\\]") {
        if let Ok(host) = Host::of_request(&text) {
            let shown = host.to_string();
            prop_assert_eq!(Host::of_request(&shown), Ok(host.clone()));
            prop_assert_eq!(Host::of_request(&text.to_ascii_uppercase()), Ok(host.clone()));
            // What browsers take for an address is one here.
            let last = text.rsplit('.').next().unwrap();
            if last.bytes().all(|byte| byte.is_ascii_digit()) {
                prop_assert!(matches!(host, Host::Address(_)), "{}", shown);
            }
        }
    }
}

#[test]
fn what_is_no_network_is_told_with_the_one_that_was_meant() {
    let no =
        |text: &str| format!("'{text}' is no network: it is an address, or an address and a length as in 10.0.0.0/8");
    for (text, told) in [
        ("10.1.2.3/8", "'10.1.2.3/8' has bits after its length: 10.0.0.0/8 is the network that it lies in".to_owned()),
        ("fd00::1/8", "'fd00::1/8' has bits after its length: fd00::/8 is the network that it lies in".to_owned()),
        (
            "255.255.255.255/0",
            "'255.255.255.255/0' has bits after its length: 0.0.0.0/0 is the network that it lies in".to_owned(),
        ),
        ("", no("")),
        ("10.0.0.0/", no("10.0.0.0/")),
        ("10.0.0.0/33", no("10.0.0.0/33")),
        ("10.0.0.0/08", no("10.0.0.0/08")),
        ("10.0.0.0/+8", no("10.0.0.0/+8")),
        ("10.0.0.0/8/8", no("10.0.0.0/8/8")),
        ("10.0.0/8", no("10.0.0/8")),
        ("010.0.0.0/8", no("010.0.0.0/8")),
        ("::/129", no("::/129")),
        ("[::]/0", no("[::]/0")),
        ("::ffff:10.0.0.0/104", no("::ffff:10.0.0.0/104")),
        ("localhost", no("localhost")),
    ] {
        assert_eq!(text.parse::<Network>().unwrap_err().to_string(), told);
    }
    for (text, shown) in
        [("10.0.0.0/8", "10.0.0.0/8"), ("192.168.0.1", "192.168.0.1/32"), ("::", "::/128"), ("0.0.0.0/0", "0.0.0.0/0")]
    {
        assert_eq!(text.parse::<Network>().unwrap().to_string(), shown);
    }
}

#[test]
fn grants_are_refused_in_these_words() {
    let kinds = "there is http=RULE, kv=BUCKET[:rw], blob=BUCKET[:rw], secret=NAME, config=KEY=VALUE, clock and random";
    for (text, told) in [
        ("", format!("unknown grant \"\": {kinds}")),
        ("Clock", format!("unknown grant \"Clock\": {kinds}")),
        ("http", format!("unknown grant \"http\": {kinds}")),
        ("random=yes", format!("unknown grant \"random=yes\": {kinds}")),
        ("kv=a:", "unknown access \"\": it is r or rw".to_owned()),
        ("blob=a:wr", "unknown access \"wr\": it is r or rw".to_owned()),
        ("kv=a:r:w", "unknown access \"r:w\": it is r or rw".to_owned()),
        ("config=level", "config takes the form config=KEY=VALUE".to_owned()),
        ("http=example.com", "it has no scheme: write https://example.com".to_owned()),
        ("http=ftp://example.com", "scheme 'ftp' is not http or https".to_owned()),
        (
            "http=get https://example.com",
            "method 'get' cannot be granted: methods are words in upper case, and neither CONNECT nor TRACE".to_owned(),
        ),
        (
            "http=https://u:p@example.com",
            "it has a user before '@': a rule names a host alone, and credentials are secrets".to_owned(),
        ),
        (
            "http=https://example.com:0",
            "port '0' is not a number or a range of numbers from 1 to 65535 (at most 16, with ',' between)".to_owned(),
        ),
        ("http=https://Example.com", "host 'Example.com' has upper case: write it in lower case".to_owned()),
        ("http=https://", "it names no host".to_owned()),
    ] {
        assert_eq!(text.parse::<Grant>().unwrap_err().to_string(), told);
    }
    let long = format!("{}=x", "ä".repeat(200));
    assert_eq!(
        long.parse::<Grant>().unwrap_err().to_string(),
        format!("unknown grant \"{}\": {kinds}", "ä".repeat(80))
    );
}

#[test]
fn grants_in_a_manifest_are_checked_like_those_of_a_command() {
    let read = |text: &str| serde_json::from_str::<Grants>(text);
    let golden = r#"{"http":["GET https://x.example"],"kv":{"a":"rw"},"blob":{"b":"r"},"secrets":["s"],"config":{"k":"v"},"clock":"precise","random":"entropy"}"#;
    let grants = read(golden).unwrap();
    assert_eq!(serde_json::to_string(&grants).unwrap(), golden);
    assert_eq!(grants.iter().count(), 7);
    assert!(
        grants.kv.values().all(|access| access.may_write()) && !grants.blob.values().any(|access| access.may_write())
    );
    assert!(Access::Read < Access::ReadWrite);
    for (bad, words) in [
        (r#"{"http":["x.example"]}"#, "it has no scheme"),
        (r#"{"http":"https://x.example"}"#, "invalid type"),
        (r#"{"kv":{"a":"w"}}"#, "unknown variant `w`"),
        (r#"{"kv":{"a.b":"r"}}"#, "invalid bucket"),
        (r#"{"kv":["a"]}"#, "invalid type"),
        (r#"{"secrets":["a b"]}"#, "invalid secret name"),
        (r#"{"config":{"LOVAGE_X":"1"}}"#, "invalid config key"),
        (r#"{"config":{"k":1}}"#, "invalid type"),
        (r#"{"clock":"fine"}"#, "unknown variant `fine`"),
        (r#"{"files":"/"}"#, "unknown field `files`"),
    ] {
        let told = read(bad).unwrap_err().to_string();
        assert!(told.contains(words), "{bad}: {told}");
    }
    let many = |kind: &str| {
        let texts = (0..=GRANTS_MAX).map(|n| match kind {
            "http" => format!("http=https://h{n}.example"),
            "config" => format!("config=k{n}=v"),
            _ => format!("{kind}=n{n}"),
        });
        texts
            .fold(Grants::default(), |grants, text| grants.with(text.parse().unwrap()))
            .checked()
            .unwrap_err()
            .to_string()
    };
    for kind in ["http", "kv", "blob", "secret", "config"] {
        assert_eq!(many(kind), format!("65 grants of {kind}: at most 64 are accepted"));
    }
    let long = Grants::default().with(Grant::Config("k".parse().unwrap(), "x".repeat(CONFIG_VALUE_BYTES_MAX + 1)));
    assert_eq!(
        long.checked().unwrap_err().to_string(),
        "the value of config k has 4097 bytes: at most 4096 are accepted"
    );
    let nul = Grants::default().with(Grant::Config("k".parse().unwrap(), "\0".to_owned()));
    assert_eq!(nul.checked().unwrap_err().to_string(), "the value of config k holds a NUL");
    // The same rule twice is one grant, in whichever form it was written.
    let twice = ["http=GET,GET https://x.example:443", "http=GET https://x.example/"];
    let twice = twice.iter().fold(Grants::default(), |grants, text| grants.with(text.parse().unwrap()));
    assert_eq!(twice.http, ["GET https://x.example".parse::<HttpRule>().unwrap()]);
}

#[test]
fn a_key_is_any_text_that_is_safe_to_print() {
    for good in ["a", " ", "..", "/", "ä", "a=b", &"x".repeat(KEY_BYTES_MAX), &"ä".repeat(KEY_BYTES_MAX / 2)] {
        assert!(is_key(good), "{good:?}");
    }
    for bad in
        ["", "\0", "a\nb", "\u{7f}", "\u{85}", &"x".repeat(KEY_BYTES_MAX + 1), &"ä".repeat(KEY_BYTES_MAX / 2 + 1)]
    {
        assert!(!is_key(bad), "{bad:?}");
    }
}

#[test]
fn nothing_is_allowed_by_what_cannot_be_read() {
    for bad in ["1", r#"{"all":1}"#, r#"{"every":{}}"#, r#"{"all":{"http":"yes"}}"#, r#"{"tenants":{"ctl":{}}}"#] {
        assert!(serde_json::from_str::<Allow>(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_an_operator_writes_of_a_tenant_is_in_place_of_what_holds_for_all() {
    let tenant = |name: &str| name.parse().unwrap();
    let grants = ["kv=a:rw", "kv=b:r", "blob=c:rw", "secret=s", "config=k=v", "clock", "random"];
    let grants = grants.iter().fold(Grants::default(), |grants, text| grants.with(text.parse().unwrap()));
    for (allow, acme, other) in [
        ("{}", "", ""),
        (r#"{"all":{"kv":false}}"#, "kv=a:rw, kv=b:r", "kv=a:rw, kv=b:r"),
        (r#"{"all":{"kv":{"a":"r"}}}"#, "kv=a:rw, kv=b:r", "kv=a:rw, kv=b:r"),
        (r#"{"all":{"kv":{"a":"rw"}}}"#, "kv=b:r", "kv=b:r"),
        (r#"{"tenants":{"acme":{"blob":false,"secrets":false}}}"#, "blob=c:rw, secret=s", ""),
        (r#"{"all":{"clock":false,"random":false},"tenants":{"acme":{"clock":true}}}"#, "random", "clock, random"),
        (r#"{"all":{"config":false},"tenants":{"acme":{"kv":{}}}}"#, "kv=a:rw, kv=b:r, config=k=v", "config=k=v"),
    ] {
        let read: Allow = serde_json::from_str(allow).unwrap();
        for (name, withheld) in [("acme", acme), ("other", other)] {
            let told = read.granted(&tenant(name), &grants).withheld(&grants).unwrap_or_default();
            assert_eq!(told, withheld, "{allow} {name}");
        }
    }
}

#[test]
fn a_webhook_is_tried_again_after_these_pauses() {
    let pauses: Vec<u64> = (1..).map_while(lovage::model::webhook::pause_after).map(|pause| pause.as_secs()).collect();
    assert_eq!(pauses, [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800]);
}
