//! Keys and values of a tenant on `lvg.<t>.kv.<bucket>.<key>`: the body is the value, its sequence the revision.
//!
//! A key is any text, so that it is written as one token: letters, digits, `-` and `_` stand for themselves, every other byte for
//! `~` and its two hexadecimal digits.
//!
//! **Invariant:** two keys never share a subject, and no key reaches beyond its bucket.

use std::fmt::Write as _;

use crate::model::grants::is_key;
use crate::model::{BucketName, Tenant};

/// `lvg.<t>.kv.<bucket>.<key>`: the entry of a key.
#[must_use]
pub fn subject(tenant: &Tenant, bucket: &BucketName, key: &str) -> String {
    format!("lvg.{tenant}.kv.{bucket}.{}", token(key))
}

fn token(key: &str) -> String {
    let mut token = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            token.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            write!(token, "~{byte:02X}").ok();
        }
    }
    token
}

/// `lvg.<t>.kv.<bucket>.*`: all entries of a bucket.
#[must_use]
pub fn all(tenant: &Tenant, bucket: &BucketName) -> String {
    format!("lvg.{tenant}.kv.{bucket}.*")
}

/// The key of an entry, by its subject; `None` for what no key is written as.
#[must_use]
pub fn read_key(subject: &str) -> Option<String> {
    let written = subject.splitn(5, '.').nth(4)?;
    let mut parts = written.split('~');
    let mut bytes: Vec<u8> = parts.next()?.bytes().collect();
    for part in parts {
        let (byte, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(byte, 16).ok()?);
        bytes.extend(rest.bytes());
    }
    let key = String::from_utf8(bytes).ok()?;
    // One form for each key: what is written otherwise is none of ours.
    (is_key(&key) && token(&key) == written).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(key: &str) -> String {
        subject(&"acme".parse().unwrap(), &"b".parse().unwrap(), key)
    }

    #[test]
    fn a_key_is_one_token_whatever_it_holds() {
        for (key, subject) in [
            ("user-1_A", "lvg.acme.kv.b.user-1_A"),
            ("user.1", "lvg.acme.kv.b.user~2E1"),
            ("*", "lvg.acme.kv.b.~2A"),
            (">", "lvg.acme.kv.b.~3E"),
            ("a b/~", "lvg.acme.kv.b.a~20b~2F~7E"),
            ("ä", "lvg.acme.kv.b.~C3~A4"),
            ("../../ctl", "lvg.acme.kv.b.~2E~2E~2F~2E~2E~2Fctl"),
            ("~2E", "lvg.acme.kv.b.~7E2E"),
        ] {
            assert_eq!(written(key), subject);
            assert_eq!(read_key(subject).as_deref(), Some(key));
        }
    }

    #[test]
    fn what_no_key_is_written_as_is_not_read() {
        for token in ["", "~", "~2", "~2e", "~41", "a.b", "~00", "~FF", "~+1", "a b", "~C3"] {
            assert_eq!(read_key(&format!("lvg.acme.kv.b.{token}")), None, "{token}");
        }
        assert_eq!(read_key("lvg.acme.kv.b"), None);
    }
}
