//! Grants: what a module may reach beyond its input, given by its tenant and within what the operator of a host allows.
//!
//! Both are needed: a tenant's [`Grants`] stand in the record of a version, an operator's [`Allow`] in a file of the host, and
//! [`Allow::granted`] is what a guest gets.
//!
//! **Invariant:** what nobody granted is refused: the default of [`Grants`] and of [`Granted`] is nothing at all.

mod allow;
mod grant;
mod http;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use allow::{Allow, Allowance, Buckets};
pub use grant::{Grant, Refused};
pub use http::{
    Denied, Host, HttpRequest, HttpRule, HttpScope, InvalidHost, InvalidNetwork, InvalidRule, Network, Scheme,
    special_range,
};

use super::{BucketName, ConfigKey, SecretName};

/// Grants of one kind that a module may have: a record is one message.
pub const GRANTS_MAX: usize = 64;

/// Bytes of one value of the configuration.
pub const CONFIG_VALUE_BYTES_MAX: usize = 4 << 10;

/// Bytes of a key, or of the name of an object.
pub const KEY_BYTES_MAX: usize = 256;

/// Bytes of a value under a key: it is one message, of which brokers take a megabyte.
pub const KV_VALUE_BYTES_MAX: usize = 512 << 10;

/// Keys in one listing.
pub const KEYS_MAX: usize = 10_000;

/// Bytes of one object of a guest's: as much as an output may have.
pub const BLOB_BYTES_MAX: usize = 64 << 20;

/// Bytes of an object in one reading: the host holds them beside the guest's own memory.
pub const BLOB_READ_BYTES_MAX: usize = 8 << 20;

/// Bytes of a secret: a chain of certificates with its key fits.
pub const SECRET_BYTES_MAX: usize = 32 << 10;

/// The shortest value of a secret, in bytes: a shorter one stands in any text by chance, so that it could not be kept out of logs
/// and outputs. It is also what the shortest passwords of any worth have.
pub const SECRET_BYTES_MIN: usize = 8;

/// Whether a text may be a key, or the name of an object: any that is not empty, not too long, and safe to print.
#[must_use]
pub fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// What a guest may do with a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Access {
    /// Read what is there.
    #[serde(rename = "r")]
    Read,
    /// Read and write.
    #[serde(rename = "rw")]
    ReadWrite,
}

impl Access {
    /// Whether it may write.
    #[must_use]
    pub const fn may_write(self) -> bool {
        matches!(self, Self::ReadWrite)
    }

    /// The word for it in grants.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::ReadWrite => "rw",
        }
    }
}

/// How fine the guest's clock is. The fine one is for attacks on caches as well as for measuring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockGrain {
    /// Whole milliseconds.
    #[default]
    Coarse,
    /// As fine as the machine's.
    Precise,
}

/// Where a guest's random numbers come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RandomSource {
    /// A stream that follows from the task and its attempt: the same when the attempt is repeated, and no secret.
    #[default]
    Seeded,
    /// The entropy of the machine: what keys and tokens need.
    Entropy,
}

/// What a tenant grants to a module. It is part of a version and as immutable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Requests over HTTP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpRule>,
    /// Key-value buckets of the tenant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kv: BTreeMap<BucketName, Access>,
    /// Buckets of objects of the tenant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub blob: BTreeMap<BucketName, Access>,
    /// Secrets of the tenant.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
    /// Settings, which everyone who may list modules may see.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<ConfigKey, String>,
    /// How fine its clock is.
    #[serde(skip_serializing_if = "is_coarse")]
    pub clock: ClockGrain,
    /// Where its random numbers come from.
    #[serde(skip_serializing_if = "is_seeded")]
    pub random: RandomSource,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_coarse(clock: &ClockGrain) -> bool {
    *clock == ClockGrain::Coarse
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_seeded(random: &RandomSource) -> bool {
    *random == RandomSource::Seeded
}

impl Grants {
    /// Whether nothing is granted.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The grants one by one, in the order of their kinds.
    pub fn iter(&self) -> impl Iterator<Item = Grant> + '_ {
        let http = self.http.iter().cloned().map(Grant::Http);
        let kv = self.kv.iter().map(|(bucket, access)| Grant::Kv(bucket.clone(), *access));
        let blob = self.blob.iter().map(|(bucket, access)| Grant::Blob(bucket.clone(), *access));
        let secrets = self.secrets.iter().cloned().map(Grant::Secret);
        let config = self.config.iter().map(|(key, value)| Grant::Config(key.clone(), value.clone()));
        let clock = (self.clock == ClockGrain::Precise).then_some(Grant::Clock);
        let random = (self.random == RandomSource::Entropy).then_some(Grant::Random);
        http.chain(kv).chain(blob).chain(secrets).chain(config).chain(clock).chain(random)
    }

    /// These grants and one more, which takes the place of one of the same name.
    #[must_use]
    pub fn with(mut self, grant: Grant) -> Self {
        match grant {
            Grant::Http(rule) if self.http.contains(&rule) => {}
            Grant::Http(rule) => self.http.push(rule),
            Grant::Kv(bucket, access) => drop(self.kv.insert(bucket, access)),
            Grant::Blob(bucket, access) => drop(self.blob.insert(bucket, access)),
            Grant::Secret(name) => drop(self.secrets.insert(name)),
            Grant::Config(key, value) => drop(self.config.insert(key, value)),
            Grant::Clock => self.clock = ClockGrain::Precise,
            Grant::Random => self.random = RandomSource::Entropy,
        }
        self
    }

    /// These grants, if they keep to the bounds that the types alone do not set.
    ///
    /// # Errors
    /// Too many grants of a kind, and a setting that is too long or that no environment can hold.
    pub fn checked(self) -> Result<Self, Refused> {
        let counts = [
            ("http", self.http.len()),
            ("kv", self.kv.len()),
            ("blob", self.blob.len()),
            ("secret", self.secrets.len()),
            ("config", self.config.len()),
        ];
        for (kind, count) in counts {
            if count > GRANTS_MAX {
                return Err(Refused::TooMany { kind, count });
            }
        }
        for (key, value) in &self.config {
            if value.len() > CONFIG_VALUE_BYTES_MAX {
                return Err(Refused::LongValue { key: key.clone(), size: value.len() });
            }
            if value.contains('\0') {
                return Err(Refused::NulInValue { key: key.clone() });
            }
        }
        Ok(self)
    }
}

/// What a guest gets: what its tenant granted, as far as its host allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Requests over HTTP.
    pub http: HttpScope,
    /// Key-value buckets.
    pub kv: BTreeMap<BucketName, Access>,
    /// Buckets of objects.
    pub blob: BTreeMap<BucketName, Access>,
    /// Secrets.
    pub secrets: BTreeSet<SecretName>,
    /// Settings.
    pub config: BTreeMap<ConfigKey, String>,
    /// How fine its clock is.
    pub clock: ClockGrain,
    /// Where its random numbers come from.
    pub random: RandomSource,
}

impl Granted {
    /// All that is granted: for tools in which one person is both tenant and operator.
    #[must_use]
    pub fn all_of(grants: &Grants) -> Self {
        let Grants { http, kv, blob, secrets, config, clock, random } = grants.clone();
        Self {
            http: HttpScope { granted: http.clone(), allowed: http, networks: Vec::new() },
            kv,
            blob,
            secrets,
            config,
            clock,
            random,
        }
    }

    /// The grants that are not given as they were granted, as people write them; `None` if all are. Of HTTP it is said only if no
    /// request at all is possible.
    #[must_use]
    pub fn withheld(&self, grants: &Grants) -> Option<String> {
        let given = |grant: &Grant| match grant {
            Grant::Http(_) => !self.http.is_none(),
            Grant::Kv(bucket, access) => self.kv.get(bucket) == Some(access),
            Grant::Blob(bucket, access) => self.blob.get(bucket) == Some(access),
            Grant::Secret(name) => self.secrets.contains(name),
            Grant::Config(key, _) => self.config.contains_key(key),
            Grant::Clock => self.clock == ClockGrain::Precise,
            Grant::Random => self.random == RandomSource::Entropy,
        };
        let withheld: Vec<String> =
            grants.iter().filter(|grant| !given(grant)).map(|grant| grant.to_string()).collect();
        (!withheld.is_empty()).then(|| withheld.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(texts: &[&str]) -> Grants {
        texts.iter().fold(Grants::default(), |grants, text| grants.with(text.parse().unwrap()))
    }

    #[test]
    fn nothing_is_granted_by_default() {
        assert!(Grants::default().is_none());
        assert_eq!(serde_json::to_string(&Grants::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Grants>("{}").unwrap(), Grants::default());
        let tenant = crate::model::Tenant::default_tenant();
        assert_eq!(Allow::default().granted(&tenant, &Grants::default()), Granted::default());
    }

    #[test]
    fn what_is_withheld_is_said() {
        let grants = grants(&["http=GET https://x.example", "kv=a:rw", "blob=b:r", "clock"]);
        assert_eq!(Granted::all_of(&grants).withheld(&grants), None);
        assert_eq!(
            Granted::default().withheld(&grants).as_deref(),
            Some("http=GET https://x.example, kv=a:rw, blob=b:r, clock")
        );
        let less = Granted { kv: BTreeMap::from([("a".parse().unwrap(), Access::Read)]), ..Granted::all_of(&grants) };
        assert_eq!(less.withheld(&grants).as_deref(), Some("kv=a:rw"));
    }

    #[test]
    fn grants_are_written_as_they_are_given() {
        let texts = [
            "http=GET https://api.example.com",
            "kv=sessions:rw",
            "blob=photos:r",
            "secret=api_key",
            "config=level=3",
            "clock",
            "random",
        ];
        let written: Vec<String> = grants(&texts).iter().map(|grant| grant.to_string()).collect();
        assert_eq!(written, texts);
    }

    #[test]
    fn a_later_grant_takes_the_place_of_one_of_the_same_name() {
        let grants = grants(&["kv=a:rw", "kv=a:r", "config=k=1", "config=k=2", "secret=s", "secret=s"]);
        let written: Vec<String> = grants.iter().map(|grant| grant.to_string()).collect();
        assert_eq!(written, ["kv=a:r", "secret=s", "config=k=2"]);
    }

    #[test]
    fn grants_keep_to_their_bounds() {
        let of = |count: usize| {
            (0..count).fold(Grants::default(), |grants, n| grants.with(format!("kv=b{n}").parse().unwrap()))
        };
        assert!(of(GRANTS_MAX).checked().is_ok());
        let error = of(GRANTS_MAX + 1).checked().unwrap_err();
        assert_eq!(error.to_string(), "65 grants of kv: at most 64 are accepted");
        let value =
            |value: String| Grants { config: BTreeMap::from([("k".parse().unwrap(), value)]), ..Grants::default() };
        assert!(value("x".repeat(CONFIG_VALUE_BYTES_MAX)).checked().is_ok());
        assert!(value("x".repeat(CONFIG_VALUE_BYTES_MAX + 1)).checked().is_err());
        assert!(value("a\0b".to_owned()).checked().is_err());
    }
}
