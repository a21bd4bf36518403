//! Secrets of a tenant on `lvg.<t>.secret.<name>`, sealed, and on `lvg.ctl.secret.key` the public key that they are sealed for.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Rejection, versioned};
use crate::model::{SecretName, Tenant};

/// The version of the forms that this code writes.
pub const RECORD_VERSION: u32 = 1;

/// Where the public key of an installation stands.
pub const KEY_SUBJECT: &str = "lvg.ctl.secret.key";

/// A secret as it is stored: who reads it without the private key learns its name and about its length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRecord {
    /// The version of this form.
    pub v: u32,
    /// The public key that it is sealed for, as NATS writes curve keys (`X...`).
    pub key: String,
    /// The public key of whoever sealed it, made for this secret alone.
    pub sender: String,
    /// The sealed [`Content`], in base64.
    pub sealed: String,
}

/// What is sealed: the value, and whose it is, so that a sealed secret that is copied elsewhere opens nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The tenant that set it.
    pub tenant: Tenant,
    /// The name that it was set under.
    pub name: SecretName,
    /// The value.
    pub value: String,
}

/// The public key of an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The version of this form.
    pub v: u32,
    /// The public key, as NATS writes curve keys (`X...`).
    pub key: String,
}

impl SecretRecord {
    /// The body of the record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Anything that is not a record of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        versioned::read("secret", RECORD_VERSION, body)
    }
}

impl KeyRecord {
    /// The body of the record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Anything that is not a record of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        versioned::read("key of secrets", RECORD_VERSION, body)
    }
}

/// `lvg.<t>.secret.<name>`: a secret.
#[must_use]
pub fn subject(tenant: &Tenant, name: &SecretName) -> String {
    format!("lvg.{tenant}.secret.{name}")
}

/// `lvg.<t>.secret.*`: all secrets of a tenant.
#[must_use]
pub fn all(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.secret.*")
}

/// The name of a secret, by its subject.
#[must_use]
pub fn read_name(subject: &str) -> Option<SecretName> {
    subject.splitn(4, '.').nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_a_golden_form() {
        let secret = SecretRecord { v: 1, key: "XA".into(), sender: "XB".into(), sealed: "eGt2MQ==".into() };
        let golden = r#"{"v":1,"key":"XA","sender":"XB","sealed":"eGt2MQ=="}"#;
        assert_eq!(secret.encode(), golden);
        assert_eq!(SecretRecord::decode(&Bytes::from_static(golden.as_bytes())), Ok(secret));
        let key = KeyRecord { v: 1, key: "XA".into() };
        assert_eq!(key.encode(), r#"{"v":1,"key":"XA"}"#);
        assert_eq!(KeyRecord::decode(&key.encode()), Ok(key));
        let content = Content { tenant: "t".parse().unwrap(), name: "n".parse().unwrap(), value: "v".into() };
        assert_eq!(serde_json::to_string(&content).unwrap(), r#"{"tenant":"t","name":"n","value":"v"}"#);
    }

    #[test]
    fn a_name_is_read_from_its_subject() {
        let (tenant, name) = ("t".parse().unwrap(), "API_key".parse().unwrap());
        assert_eq!(subject(&tenant, &name), "lvg.t.secret.API_key");
        assert_eq!(read_name("lvg.t.secret.API_key"), Some(name));
        assert_eq!(read_name("lvg.t.secret.a.b"), None);
    }
}
