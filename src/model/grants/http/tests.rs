#![cfg(test)]
//! Tables of rules, requests and addresses.

use proptest::prelude::*;

use super::*;

fn rule(text: &str) -> HttpRule {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// `GET https://host:port/path`, as a guest would ask.
fn request(text: &str) -> HttpRequest {
    let (method, url) = text.split_once(' ').unwrap();
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let end = authority.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match authority[end..].find(':') {
        Some(at) => (&authority[..end + at], authority[end + at + 1..].parse().unwrap()),
        None => (authority, scheme.port()),
    };
    let host = Host::of_request(host).unwrap();
    HttpRequest {
        method: method.to_owned(),
        scheme,
        host,
        port,
        path: if path.is_empty() { "/" } else { path }.to_owned(),
    }
}

#[test]
fn rules_read_back_as_they_were_written() {
    for text in [
        "https://api.example.com",
        "http://api.example.com:8080",
        "https://*.example.com",
        "https://*",
        "GET https://api.example.com/v1/",
        "GET,POST https://*.example.com:8443/v1/",
        "PROPFIND,REPORT https://dav.example.com",
        "https://xn--bcher-kva.example",
        "http://127.0.0.1:1-65535",
        "http://[2001:db8::1]:80,8080-8099",
        "http://_metrics.internal:9100",
        "https://api.example.com/a/b~c/(d)",
    ] {
        assert_eq!(rule(text).to_string(), text);
        let json = serde_json::to_string(&rule(text)).unwrap();
        assert_eq!(serde_json::from_str::<HttpRule>(&json).unwrap(), rule(text));
    }
}

#[test]
fn a_rule_has_one_form() {
    for (written, normal) in [
        ("  https://a.example  ", "https://a.example"),
        ("https://a.example:443/", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("POST,GET,POST   https://a.example", "GET,POST https://a.example"),
        ("https://a.example:9,1-3,9", "https://a.example:1-3,9"),
        ("http://[::ffff:10.0.0.1]", "http://10.0.0.1"),
        ("http://[0:0::1]", "http://[::1]"),
    ] {
        assert_eq!(rule(written).to_string(), normal, "{written}");
    }
}

#[test]
fn what_is_no_rule_is_refused_with_its_reason() {
    for (text, reason) in [
        ("", "no scheme"),
        ("api.example.com", "write https://api.example.com"),
        ("ftp://api.example.com", "scheme 'ftp'"),
        ("HTTPS://api.example.com", "scheme 'HTTPS'"),
        ("get https://api.example.com", "method 'get'"),
        ("GET, POST https://api.example.com", "method ''"),
        ("CONNECT https://api.example.com", "method 'CONNECT'"),
        ("TRACE https://api.example.com", "method 'TRACE'"),
        ("https://", "names no host"),
        ("https:///path", "names no host"),
        ("https://user:pass@api.example.com", "user before '@'"),
        ("https://API.example.com", "lower case"),
        ("https://api.example.com.", "ends with a dot"),
        ("https://bücher.example", "Punycode"),
        ("https://api..example.com", "is no name"),
        ("https://-api.example.com", "is no name"),
        ("https://api.example.com:", "port ''"),
        ("https://api.example.com:0", "port '0'"),
        ("https://api.example.com:65536", "port '65536'"),
        ("https://api.example.com:+80", "port '+80'"),
        ("https://api.example.com:90-80", "port '90-80'"),
        ("https://api.example.com:*", "port '*'"),
        ("https://*.*.example.com", "'*' stands alone"),
        ("https://api.*", "'*' stands alone"),
        ("https://a*.example.com", "'*' stands alone"),
        ("https://*.127.0.0.1", "'*' stands alone"),
        ("https://*.", "names no host"),
        ("https://2130706433", "no IPv4 address of four"),
        ("https://0x7f.1", "no IPv4 address of four"),
        ("https://127.1", "no IPv4 address of four"),
        ("https://127.0.0.01", "no IPv4 address of four"),
        ("https://a.0x7f", "no IPv4 address of four"),
        ("https://::1", "names no host"),
        ("https://[::1", "in brackets"),
        ("https://[::1]x", "in brackets"),
        ("https://[fe80::1%25eth0]", "in brackets"),
        ("https://[127.0.0.1]", "in brackets"),
        ("https://api.example.com/v1?x=1", "path '/v1?x=1'"),
        ("https://api.example.com?x=1", "path '?x=1'"),
        ("https://api.example.com#x", "path '#x'"),
        ("https://api.example.com/*", "path '/*'"),
        ("https://api.example.com/a/../b", "path '/a/../b'"),
        ("https://api.example.com/a/%2E%2e/b", "path '/a/%2E%2e/b'"),
        ("https://api.example.com/a b", "method 'https://api.example.com/a'"),
    ] {
        let error = text.parse::<HttpRule>().expect_err(text).to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    assert_eq!(format!("https://{}", "a".repeat(2_000)).parse::<HttpRule>(), Err(InvalidRule::TooLong));
}

/// Each rule is about all of the one and none of the other.
fn check(table: &[(&str, &[&str], &[&str])]) {
    for (text, matching, others) in table {
        for asked in *matching {
            assert!(rule(text).matches(&request(asked)), "{text} is to match {asked}");
        }
        for asked in *others {
            assert!(!rule(text).matches(&request(asked)), "{text} is not to match {asked}");
        }
    }
}

#[test]
fn rules_match_what_they_say_and_nothing_else() {
    check(&[
        (
            "https://api.example.com",
            &[
                "GET https://api.example.com",
                "DELETE https://API.example.com/a/../b",
                "POST https://api.example.com:443/",
            ],
            &[
                "GET http://api.example.com",
                "GET https://api.example.com:8443",
                "GET https://example.com",
                "GET https://x.api.example.com",
                "GET https://api.example.com.evil.example",
                "PROPFIND https://api.example.com",
                "CONNECT https://api.example.com",
                "TRACE https://api.example.com",
                "get https://api.example.com",
            ],
        ),
        (
            "GET https://*.example.com",
            &["GET https://a.example.com", "GET https://a.b.example.com"],
            &[
                "GET https://example.com",
                "GET https://badexample.com",
                "HEAD https://a.example.com",
                "GET https://example.com.evil",
            ],
        ),
        (
            "https://*",
            &["GET https://localhost", "GET https://a.example"],
            &["GET https://127.0.0.1", "GET https://[::1]"],
        ),
        (
            "http://127.0.0.1",
            &["GET http://127.0.0.1", "GET http://[::ffff:127.0.0.1]"],
            &["GET http://127.0.0.2", "GET http://localhost"],
        ),
        (
            "http://a.example:8000-8002",
            &["GET http://a.example:8001"],
            &["GET http://a.example:8003", "GET http://a.example"],
        ),
    ]);
}

#[test]
fn no_path_leads_out_of_its_prefix() {
    check(&[
        (
            "https://a.example/v1",
            &["GET https://a.example/v1", "GET https://a.example/v1/", "GET https://a.example/v1/a"],
            &[
                "GET https://a.example/v10",
                "GET https://a.example/",
                "GET https://a.example/V1",
                "GET https://a.example/v1/../admin",
                "GET https://a.example/v1/%2e%2E/admin",
                "GET https://a.example/v1/%252e%252e/admin",
                "GET https://a.example/v1/..;/admin",
                "GET https://a.example/v1/..%2fadmin",
                "GET https://a.example/v1/..\\admin",
                "GET https://a.example/v1/%5c..",
                "GET https://a.example/v1/.",
            ],
        ),
        (
            "https://a.example/v1/",
            &["GET https://a.example/v1/", "GET https://a.example/v1/a"],
            &["GET https://a.example/v1"],
        ),
    ]);
}

#[test]
fn both_sides_are_needed() {
    let asked = request("GET https://api.example.com");
    let mut policy = HttpScope::default();
    assert_eq!(policy.check(&asked), Err(Denied::NotGranted(asked.clone())));
    policy.allowed = vec![rule("https://*")];
    assert_eq!(policy.check(&asked), Err(Denied::NotGranted(asked.clone())));
    policy.granted = vec![rule("https://*.example.com")];
    assert_eq!(policy.check(&asked), Ok(()));
    policy.allowed = vec![rule("https://other.example")];
    assert_eq!(policy.check(&asked), Err(Denied::NotAllowed(asked)));
}

#[test]
fn a_refusal_names_the_rule_that_is_missing() {
    let denied = HttpScope::default().check(&request("POST http://api.example.com:8080/a")).unwrap_err();
    assert!(denied.to_string().contains("--grant 'http=POST http://api.example.com:8080'"), "{denied}");
    let missing = "POST http://api.example.com:8080";
    assert_eq!(rule(missing).to_string(), missing);
}

#[test]
fn addresses_that_are_not_public_are_denied() {
    for (address, word) in [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "carrier"),
        ("100.100.100.200", "carrier"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("168.63.129.16", "cloud"),
        ("169.254.169.254", "link-local"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.192", "protocols"),
        ("192.0.2.1", "documentation"),
        ("192.168.1.1", "private"),
        ("198.18.0.1", "benchmarks"),
        ("198.19.255.255", "benchmarks"),
        ("203.0.113.9", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::127.0.0.1", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::ffff:0:127.0.0.1", "reserved"),
        ("64:ff9b::7f00:1", "NAT64"),
        ("64:ff9b::808:808", "NAT64"),
        ("64:ff9b:1::1", "NAT64"),
        ("100::1", "reserved"),
        ("2001::1", "protocols"),
        ("2001:db8::1", "documentation"),
        ("2002:7f00:1::", "6to4"),
        ("2002:808:808::1", "6to4"),
        ("3fff::1", "documentation"),
        ("5f00::1", "reserved"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
    ] {
        let range = special_range(address.parse().unwrap(), &[]).unwrap_or_else(|| panic!("{address} is public"));
        assert!(range.contains(word), "{address}: {range}");
    }
    for address in
        ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "::ffff:8.8.8.8", "2606:4700::1111", "2a00::1"]
    {
        assert_eq!(special_range(address.parse().unwrap(), &[]), None, "{address}");
    }
}

#[test]
fn an_operator_opens_networks_and_what_they_carry() {
    let open = |networks: &[&str], address: &str| {
        let networks: Vec<Network> = networks.iter().map(|network| network.parse().unwrap()).collect();
        special_range(address.parse().unwrap(), &networks).is_none()
    };
    assert!(open(&["127.0.0.0/8"], "127.9.9.9"));
    assert!(open(&["127.0.0.1"], "::ffff:127.0.0.1"));
    assert!(!open(&["127.0.0.1"], "127.0.0.2"));
    assert!(!open(&["127.0.0.1"], "::1"));
    assert!(open(&["0.0.0.0/0"], "10.0.0.1"));
    assert!(open(&["fd00::/8"], "fd12::1"));
    // A NAT64 that is open reaches public addresses, not those that are denied by themselves.
    assert!(open(&["64:ff9b::/96"], "64:ff9b::808:808"));
    assert!(!open(&["64:ff9b::/96"], "64:ff9b::a9fe:a9fe"));
    assert!(!open(&["2002::/16"], "2002:7f00:1::1"));
    assert!(!open(&["2001::/32"], "2001:0:1:2:3:4:80ff:fffe"));
    assert!(!open(&["::/96"], "::127.0.0.1"));
}

#[test]
fn networks_are_written_without_bits_after_their_length() {
    for (text, normal) in
        [("10.0.0.0/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("::1", "::1/128"), ("::/0", "::/0")]
    {
        assert_eq!(text.parse::<Network>().unwrap().to_string(), normal);
    }
    for (text, reason) in [
        ("10.0.0.1/8", "10.0.0.0/8 is the network"),
        ("fd00::1/8", "fd00::/8 is the network"),
        ("10.0.0.0/33", "no network"),
        ("10.0.0.0/+8", "no network"),
        ("10.0.0.0/", "no network"),
        ("::ffff:10.0.0.0/104", "no network"),
        ("localhost", "no network"),
        ("", "no network"),
    ] {
        let error = text.parse::<Network>().unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_rule_of_the_operator_that_names_an_address_opens_that_one() {
    let policy = |allowed: &str, networks: &[&str]| HttpScope {
        granted: vec![rule("http://127.0.0.1:8080"), rule("http://localhost:8080")],
        allowed: vec![rule(allowed)],
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
    };
    let literal = request("GET http://127.0.0.1:8080");
    let name = request("GET http://localhost:8080");
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    assert_eq!(policy("http://127.0.0.1:8080", &[]).check_address(&literal, loopback), Ok(()));
    // The name is not the address, and another port is not the one that was opened.
    assert!(policy("http://127.0.0.1:8080", &[]).check_address(&name, loopback).is_err());
    assert!(policy("http://127.0.0.1:9090", &[]).check_address(&literal, loopback).is_err());
    assert!(policy("http://localhost:8080", &[]).check_address(&name, loopback).is_err());
    assert_eq!(policy("http://localhost:8080", &["127.0.0.0/8"]).check_address(&name, loopback), Ok(()));
    // An address that resolves from a literal is that literal.
    assert!(policy("http://127.0.0.1:8080", &[]).check_address(&literal, "127.0.0.2".parse().unwrap()).is_err());
}

proptest! {
    /// Whatever is accepted is written so that it reads back as the same rule.
    #[test]
    fn no_text_makes_the_parser_panic_or_differ(text in "((GET|PUT)[ ,]{1,2})?https?://[a-c*.\\[\\]:0-9@]{0,12}(:[0-9,-]{0,5})?[/a-b.%?]{0,6}") {
        if let Ok(rule) = text.parse::<HttpRule>() {
            prop_assert_eq!(rule.to_string().parse::<HttpRule>(), Ok(rule));
        }
    }

    /// No form of an address that is denied is public in another form.
    #[test]
    fn forms_of_an_address_are_judged_alike(bits in any::<u32>()) {
        let address = core::net::Ipv4Addr::from_bits(bits);
        let mapped = IpAddr::V6(address.to_ipv6_mapped());
        prop_assert_eq!(special_range(IpAddr::V4(address), &[]), special_range(mapped, &[]));
    }
}
