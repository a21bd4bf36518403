//! One grant as people write it: `kv=sessions:rw`, `secret=api_key`, `clock`.

use std::fmt;
use std::str::FromStr;

use super::{Access, CONFIG_VALUE_BYTES_MAX, GRANTS_MAX, HttpRule, InvalidRule};
use crate::model::name::Invalid;
use crate::model::{BucketName, ConfigKey, SecretName};

/// One thing that a module is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Requests over HTTP.
    Http(HttpRule),
    /// A key-value bucket.
    Kv(BucketName, Access),
    /// A bucket of objects.
    Blob(BucketName, Access),
    /// A secret.
    Secret(SecretName),
    /// A setting.
    Config(ConfigKey, String),
    /// A clock as fine as the machine's.
    Clock,
    /// The entropy of the machine.
    Random,
}

/// Why grants are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A kind that there is not.
    #[error(
        "unknown grant {0:?}: there is http=RULE, kv=BUCKET[:rw], blob=BUCKET[:rw], secret=NAME, config=KEY=VALUE, clock and random"
    )]
    Kind(String),
    /// An access that there is not.
    #[error("unknown access {0:?}: it is r or rw")]
    Access(String),
    /// A setting without a value.
    #[error("config takes the form config=KEY=VALUE")]
    NoValue,
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] Invalid),
    /// A rule that is none.
    #[error(transparent)]
    Rule(#[from] InvalidRule),
    /// More than a record holds.
    #[error("{count} grants of {kind}: at most {GRANTS_MAX} are accepted")]
    TooMany {
        /// The kind.
        kind: &'static str,
        /// How many were given.
        count: usize,
    },
    /// A setting that is longer than a setting may be.
    #[error("the value of config {key} has {size} bytes: at most {CONFIG_VALUE_BYTES_MAX} are accepted")]
    LongValue {
        /// Its key.
        key: ConfigKey,
        /// Its size.
        size: usize,
    },
    /// A setting that no environment can hold.
    #[error("the value of config {key} holds a NUL")]
    NulInValue {
        /// Its key.
        key: ConfigKey,
    },
}

impl Grant {
    /// The word before the `=`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Kv(..) => "kv",
            Self::Blob(..) => "blob",
            Self::Secret(_) => "secret",
            Self::Config(..) => "config",
            Self::Clock => "clock",
            Self::Random => "random",
        }
    }
}

impl FromStr for Grant {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        match text.split_once('=') {
            None if text == "clock" => Ok(Self::Clock),
            None if text == "random" => Ok(Self::Random),
            Some(("http", rule)) => Ok(Self::Http(rule.parse()?)),
            Some(("kv", bucket)) => bucket_and_access(bucket).map(|(bucket, access)| Self::Kv(bucket, access)),
            Some(("blob", bucket)) => bucket_and_access(bucket).map(|(bucket, access)| Self::Blob(bucket, access)),
            Some(("secret", name)) => Ok(Self::Secret(name.parse()?)),
            Some(("config", setting)) => {
                let (key, value) = setting.split_once('=').ok_or(Refused::NoValue)?;
                Ok(Self::Config(key.parse()?, value.to_owned()))
            }
            _ => Err(Refused::Kind(text.chars().take(80).collect())),
        }
    }
}

/// `sessions:rw`; without an access, to read.
fn bucket_and_access(text: &str) -> Result<(BucketName, Access), Refused> {
    let (bucket, access) = match text.split_once(':') {
        None => (text, Access::Read),
        Some((bucket, "r")) => (bucket, Access::Read),
        Some((bucket, "rw")) => (bucket, Access::ReadWrite),
        Some((_, other)) => return Err(Refused::Access(other.chars().take(80).collect())),
    };
    Ok((bucket.parse()?, access))
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(rule) => write!(f, "http={rule}"),
            Self::Kv(bucket, access) => write!(f, "kv={bucket}:{}", access.as_str()),
            Self::Blob(bucket, access) => write!(f, "blob={bucket}:{}", access.as_str()),
            Self::Secret(name) => write!(f, "secret={name}"),
            Self::Config(key, value) => write!(f, "config={key}={value}"),
            Self::Clock => f.write_str("clock"),
            Self::Random => f.write_str("random"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_granted_to_read_unless_more_is_said() {
        assert_eq!("kv=a".parse(), Ok(Grant::Kv("a".parse().unwrap(), Access::Read)));
        assert_eq!("blob=a:rw".parse(), Ok(Grant::Blob("a".parse().unwrap(), Access::ReadWrite)));
    }

    #[test]
    fn a_setting_may_hold_anything_after_its_key() {
        assert_eq!(
            "config=URL=https://x/?a=b".parse(),
            Ok(Grant::Config("URL".parse().unwrap(), "https://x/?a=b".into()))
        );
        assert_eq!("config=empty=".parse(), Ok(Grant::Config("empty".parse().unwrap(), String::new())));
    }

    #[test]
    fn what_is_no_grant_is_refused_and_says_what_is() {
        for (text, says) in [
            ("", "there is http=RULE"),
            ("files=/", "there is http=RULE"),
            ("clock=precise", "there is http=RULE"),
            ("kv", "there is http=RULE"),
            ("kv=a:w", "it is r or rw"),
            ("kv=a.b", "invalid bucket"),
            ("kv=*", "invalid bucket"),
            ("blob=>:rw", "invalid bucket"),
            ("secret=a b", "invalid secret name"),
            ("config=level", "config=KEY=VALUE"),
            ("config=LOVAGE_TASK=x", "not LOVAGE_"),
            ("config=1=x", "invalid config key"),
        ] {
            let error = text.parse::<Grant>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
