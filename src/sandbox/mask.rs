//! Secrets that a guest was told, and where their values must not appear.
//!
//! It is a net for accidents, as when a request is logged with its key; a guest that means to tell a secret can write it backwards.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use memchr::memmem;

use crate::model::grants::SECRET_BYTES_MIN;
use crate::model::{Failure, Kind, Outcome, SecretName};

/// The shortest form of a value that is looked for: shorter ones stand in any text by chance.
const MASKED_BYTES_MIN: usize = SECRET_BYTES_MIN;

/// Lines of one value that are looked for, besides the whole: a key in PEM has a few dozen.
const LINES_MAX: usize = 256;

/// The secrets that one guest was told. Clones are one and the same.
#[derive(Clone, Default)]
pub(super) struct Mask(Arc<OnceLock<Mutex<Vec<Told>>>>);

/// A value was told under this name.
struct Told {
    name: SecretName,
    /// The value as it may stand in texts, longest first: whole, as JSON writes it, its lines, in base64 and in URLs.
    forms: Vec<String>,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// From now on this value is kept out of what the guest says.
    pub(super) fn learn(&self, name: &SecretName, value: &str) {
        let mut told = self.0.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        let mut forms: Vec<String> = vec![value.to_owned()];
        forms.extend(value.lines().take(LINES_MAX).map(|line| line.trim().to_owned()));
        let written: Vec<String> = forms.iter().map(|form| written(form)).collect();
        forms.extend(written);
        forms.extend(in_base64(value));
        forms.push(in_url(value));
        forms.retain(|form| form.len() >= MASKED_BYTES_MIN);
        forms.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        forms.dedup();
        // What is told twice is looked for once.
        if !told.iter().any(|known| known.name == *name && known.forms == forms) {
            told.push(Told { name: name.clone(), forms });
        }
    }

    /// The text with `[secret NAME]` in place of every value.
    pub(super) fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(told) = self.0.get() else { return Cow::Borrowed(text) };
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut masked = Cow::Borrowed(text);
        for Told { name, forms } in told.iter() {
            for form in forms {
                if masked.contains(form.as_str()) {
                    masked = Cow::Owned(masked.replace(form.as_str(), &format!("[secret {name}]")));
                }
            }
        }
        masked
    }

    /// What the guest ended with, without any value: a failure is masked, and an output or a flow that holds one is a failure,
    /// since a step that follows could not know that it got something else.
    pub(super) fn cleared(&self, outcome: Outcome) -> Outcome {
        if self.0.get().is_none() {
            return outcome;
        }
        let found = match &outcome {
            Outcome::Output(output) => self.find(output),
            Outcome::Replace(flow) => self.find(&Bytes::copy_from_slice(flow.as_bytes())),
            Outcome::Failed(_) => None,
        };
        match (outcome, found) {
            (_, Some(name)) => {
                let message = format!("the output holds the secret {name}, which is for this module alone");
                Outcome::Failed(Failure::new(Kind::NotGranted, message))
            }
            (Outcome::Failed(failure), None) => Outcome::Failed(self.masked(failure)),
            (outcome, None) => outcome,
        }
    }

    fn find(&self, bytes: &Bytes) -> Option<SecretName> {
        let told = self.0.get()?.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |told: &&Told| told.forms.iter().any(|form| memmem::find(bytes, form.as_bytes()).is_some());
        told.iter().find(holds).map(|told| told.name.clone())
    }

    fn masked(&self, mut failure: Failure) -> Failure {
        failure.message = self.apply(&failure.message).into_owned();
        failure.detail = failure.detail.map(|detail| {
            let text = detail.to_string();
            match self.apply(&text) {
                Cow::Borrowed(_) => detail,
                Cow::Owned(masked) => serde_json::from_str(&masked).unwrap_or(serde_json::Value::String(masked)),
            }
        });
        failure
    }
}

/// The text as it stands within a JSON string.
fn written(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// The characters of base64 that a value alone decides, wherever it stands in what is encoded, as in `user:password` of HTTP: it
/// begins there with the first, second or third byte of a group, and the characters that it shares with others are left out.
fn in_base64(value: &str) -> impl Iterator<Item = String> {
    (0..3_usize).flat_map(move |before| {
        let text: Vec<u8> = std::iter::repeat_n(0, before).chain(value.bytes()).collect();
        let own = (before * 8).div_ceil(6)..text.len() * 8 / 6;
        [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|alphabet| {
            let encoded = alphabet.encode(&text);
            encoded.get(own.clone()).unwrap_or_default().to_owned()
        })
    })
}

/// The value as it stands in a URL or a form.
fn in_url(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[(&str, &str)]) -> Mask {
        let mask = Mask::default();
        values.iter().for_each(|(name, value)| mask.learn(&name.parse().unwrap(), value));
        mask
    }

    #[test]
    fn values_are_replaced_by_their_names() {
        let mask = mask(&[
            ("api_key", "sk-12345678"),
            ("quoted", "a\"quoted\"b"),
            ("pem", "-----BEGIN KEY-----\nMIIEvQIBADAN\nabc\n"),
        ]);
        for (text, masked) in [
            ("key=sk-12345678, again sk-12345678", "key=[secret api_key], again [secret api_key]"),
            (r#"{"k":"a\"quoted\"b"}"#, r#"{"k":"[secret quoted]"}"#),
            ("said a\"quoted\"b", "said [secret quoted]"),
            ("a line MIIEvQIBADAN of it", "a line [secret pem] of it"),
            ("abc stands anywhere", "abc stands anywhere"),
            ("", ""),
        ] {
            assert_eq!(mask.apply(text), masked);
        }
    }

    #[test]
    fn a_value_is_found_in_base64_and_in_urls() {
        let mask = mask(&[("password", "p?ss>wörd/1")]);
        for before in ["", "u", "me", "you", "user:"] {
            for after in ["", "x", "yz", "abc"] {
                let text = format!("{before}p?ss>wörd/1{after}");
                for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let said = format!("Authorization: Basic {encoded}");
                    let masked = mask.apply(&said);
                    assert!(masked.contains("[secret password]"), "{said}: {masked}");
                    // What is left of it are bits of its first and its last byte.
                    assert!(masked.len() <= said.len() - 12 + "[secret password]".len(), "{said}: {masked}");
                }
            }
        }
        assert_eq!(mask.apply("GET /?p=p%3Fss%3Ew%C3%B6rd%2F1&n=1"), "GET /?p=[secret password]&n=1");
        assert_eq!(mask.apply("Basic dXNlcjpvdGhlci1wYXNzd29yZA"), "Basic dXNlcjpvdGhlci1wYXNzd29yZA");
    }

    #[test]
    fn what_was_never_told_is_looked_for_nowhere() {
        assert!(matches!(Mask::default().apply("sk-12345678"), Cow::Borrowed("sk-12345678")));
        assert_eq!(mask(&[("pin", "1234")]).apply("1234"), "1234", "too short to be told from anything else");
    }

    #[test]
    fn an_output_that_holds_a_secret_is_a_failure() {
        let mask = mask(&[("api_key", "sk-12345678")]);
        for leaking in [
            Outcome::Output(Bytes::from_static(b"\xff\x00sk-12345678\xff")),
            Outcome::Replace(r#"{"task":"a/b","input":"sk-12345678"}"#.to_owned()),
        ] {
            let Outcome::Failed(failure) = mask.cleared(leaking) else { panic!("it passed") };
            assert_eq!(failure.kind, Kind::NotGranted);
            assert!(failure.message.contains("api_key") && !failure.message.contains("sk-"), "{failure}");
        }
        let fine = Outcome::Output(Bytes::from_static(b"\"sk-1234567\""));
        assert_eq!(mask.cleared(fine.clone()), fine);
    }

    #[test]
    fn a_failure_is_masked_in_its_message_and_its_detail() {
        let mask = mask(&[("api_key", "sk-12345678")]);
        let failure = Failure::new(Kind::Returned, "401 for sk-12345678")
            .with_detail(serde_json::json!({"header": ["Bearer sk-12345678"], "n": 1}));
        let Outcome::Failed(masked) = mask.cleared(Outcome::Failed(failure)) else { panic!() };
        assert_eq!(masked.message, "401 for [secret api_key]");
        assert_eq!(masked.detail, Some(serde_json::json!({"header": ["Bearer [secret api_key]"], "n": 1})));
    }
}
