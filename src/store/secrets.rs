//! Secrets of tenants: sealed by whoever sets them, opened by hosts alone.
//!
//! The box is that of NATS's curve keys (X25519, XSalsa20, Poly1305). Each is sealed by a key made for it, whose private half is
//! forgotten at once, so that not even who set a secret can open it again.
//!
//! **Invariant:** a value stands in no error, no log line and no `Debug`.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::TryStreamExt as _;
use nkeys::XKey;

use crate::broker::{self, Broker, Publish, Start};
use crate::model::grants::{SECRET_BYTES_MAX, SECRET_BYTES_MIN};
use crate::model::{SecretName, Tenant, Timestamp};
use crate::protocol::secret::{self, Content, KEY_SUBJECT, KeyRecord, RECORD_VERSION, SecretRecord};

/// Why a secret cannot be kept or had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The broker failed or refused.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// No host has published the key that secrets are sealed for.
    #[error("seal a secret: no host of this installation has a key for secrets")]
    NoKey,
    /// A value that is too short or too long.
    #[error(
        "keep a secret of {size} bytes: it takes {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}, for a shorter one could not be told from other text in logs"
    )]
    Size {
        /// Its size.
        size: usize,
    },
    /// A key that is none.
    #[error("read a key for secrets: {0}")]
    Key(String),
    /// The installation uses another key.
    #[error("use this key for secrets: the installation's public key is {theirs}, that of this file is {ours}")]
    OtherKey {
        /// The public key of the installation.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// A sealed secret that this host cannot open: sealed for another key, damaged, or copied from elsewhere.
    #[error("open secret {name}: {problem}")]
    Sealed {
        /// Its name.
        name: SecretName,
        /// Why not.
        problem: &'static str,
    },
}

/// The private key of an installation, which hosts have in a file.
#[derive(Clone)]
pub struct SealingKey(XKey);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.public())
    }
}

impl SealingKey {
    /// A new key.
    #[must_use]
    pub fn generate() -> Self {
        Self(XKey::new())
    }

    /// Reads a key from its seed (`SX...`).
    ///
    /// # Errors
    /// What is no seed of a curve key.
    pub fn from_seed(seed: &str) -> Result<Self, Error> {
        XKey::from_seed(seed.trim()).map(Self).map_err(|error| Error::Key(error.to_string()))
    }

    /// The seed, which is to be kept where only hosts read it.
    ///
    /// # Errors
    /// None: every key of this type has one.
    pub fn seed(&self) -> Result<String, Error> {
        self.0.seed().map_err(|error| Error::Key(error.to_string()))
    }

    /// The public half (`X...`).
    #[must_use]
    pub fn public(&self) -> String {
        self.0.public_key()
    }

    /// Opens a secret that was set by this tenant under this name.
    fn open(&self, tenant: &Tenant, name: &SecretName, record: &SecretRecord) -> Result<String, Error> {
        let failed = |problem| Error::Sealed { name: name.clone(), problem };
        if record.key != self.public() {
            return Err(failed("it is sealed for another key: set it again"));
        }
        let damaged = "it is damaged: set it again";
        let sender = XKey::from_public_key(&record.sender).map_err(|_| failed(damaged))?;
        let sealed = BASE64_STANDARD.decode(&record.sealed).map_err(|_| failed(damaged))?;
        let opened = self.0.open(&sealed, &sender).map_err(|_| failed(damaged))?;
        let content: Content = serde_json::from_slice(&opened).map_err(|_| failed(damaged))?;
        if content.tenant != *tenant || content.name != *name {
            return Err(failed("it was set for another tenant, or under another name"));
        }
        Ok(content.value)
    }
}

/// Seals a value for the holder of `key`.
fn seal(key: &str, content: &Content) -> Result<SecretRecord, Error> {
    let wrong = |error: nkeys::error::Error| Error::Key(error.to_string());
    let recipient = XKey::from_public_key(key).map_err(wrong)?;
    let sender = XKey::new();
    let plain = serde_json::to_vec(content).map_err(|error| Error::Key(error.to_string()))?;
    let sealed = BASE64_STANDARD.encode(sender.seal(&plain, &recipient).map_err(wrong)?);
    Ok(SecretRecord { v: RECORD_VERSION, key: key.to_owned(), sender: sender.public_key(), sealed })
}

/// Publishes the public half of a host's key, unless it is there.
///
/// # Errors
/// [`Error::OtherKey`] where the installation has another one, and what the broker fails with.
pub async fn publish_key(broker: &Broker, key: &SealingKey) -> Result<(), Error> {
    let ours = key.public();
    let record = KeyRecord { v: RECORD_VERSION, key: ours.clone() };
    let publish = Publish { expect: Some(0), ..Publish::new(KEY_SUBJECT, record.encode()) };
    match broker.streams.publish(publish).await {
        Ok(_) => Ok(()),
        Err(broker::Error::Conflict { .. }) => match public_key(broker).await? {
            theirs if theirs == ours => Ok(()),
            theirs => Err(Error::OtherKey { theirs, ours }),
        },
        Err(error) => Err(error.into()),
    }
}

/// The public key of the installation.
///
/// # Errors
/// [`Error::NoKey`], and what the broker fails with.
pub async fn public_key(broker: &Broker) -> Result<String, Error> {
    let message = broker.streams.last(KEY_SUBJECT).await?.ok_or(Error::NoKey)?;
    let record = KeyRecord::decode(&message.payload).map_err(|rejection| Error::Key(rejection.to_string()))?;
    Ok(record.key)
}

/// Seals and stores a secret, in place of what was there.
///
/// # Errors
/// [`Error::NoKey`], [`Error::Size`], and what the broker fails with.
pub async fn set(broker: &Broker, tenant: &Tenant, name: &SecretName, value: String) -> Result<(), Error> {
    if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&value.len()) {
        return Err(Error::Size { size: value.len() });
    }
    let content = Content { tenant: tenant.clone(), name: name.clone(), value };
    let record = seal(&public_key(broker).await?, &content)?;
    broker.streams.publish(Publish::new(secret::subject(tenant, name), record.encode())).await?;
    Ok(())
}

/// Opens a secret.
///
/// # Errors
/// [`Error::Sealed`], and what the broker fails with.
pub async fn open(
    broker: &Broker,
    key: &SealingKey,
    tenant: &Tenant,
    name: &SecretName,
) -> Result<Option<String>, Error> {
    let Some(message) = broker.streams.last(&secret::subject(tenant, name)).await? else { return Ok(None) };
    let unreadable = "its record cannot be read: set it again, or update this host";
    let record = SecretRecord::decode(&message.payload)
        .map_err(|_| Error::Sealed { name: name.clone(), problem: unreadable })?;
    key.open(tenant, name, &record).map(Some)
}

/// The names of a tenant's secrets, and when each was set.
///
/// # Errors
/// What the broker fails with.
pub async fn list(broker: &Broker, tenant: &Tenant) -> Result<Vec<(SecretName, Timestamp)>, Error> {
    let messages = broker.streams.read(&secret::all(tenant), Start::LastPerSubject, false).await?;
    let named = messages.try_filter_map(|message| async move {
        Ok(secret::read_name(&message.subject).map(|name| (name, message.time)))
    });
    let mut found: Vec<_> = named.try_collect().await?;
    found.sort_unstable();
    Ok(found)
}

/// Removes a secret, and says whether there was one.
///
/// # Errors
/// What the broker fails with.
pub async fn remove(broker: &Broker, tenant: &Tenant, name: &SecretName) -> Result<bool, Error> {
    Ok(broker.streams.purge(&secret::subject(tenant, name)).await? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(tenant: &str, name: &str) -> (SealingKey, SecretRecord) {
        let key = SealingKey::generate();
        let content =
            Content { tenant: tenant.parse().unwrap(), name: name.parse().unwrap(), value: "sk-12345678".to_owned() };
        let record = seal(&key.public(), &content).unwrap();
        (key, record)
    }

    fn open(key: &SealingKey, tenant: &str, name: &str, record: &SecretRecord) -> Result<String, String> {
        let opened = key.open(&tenant.parse().unwrap(), &name.parse().unwrap(), record);
        opened.map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_opened_by_its_key_alone() {
        let (key, record) = sealed("acme", "api");
        assert_eq!(open(&key, "acme", "api", &record).unwrap(), "sk-12345678");
        let again = SealingKey::from_seed(&format!("{}\n", key.seed().unwrap())).unwrap();
        assert_eq!(open(&again, "acme", "api", &record).unwrap(), "sk-12345678");
        let error = open(&SealingKey::generate(), "acme", "api", &record).unwrap_err();
        assert!(error.contains("another key"), "{error}");
    }

    #[test]
    fn a_sealed_secret_opens_nowhere_else() {
        let (key, record) = sealed("acme", "api");
        for (tenant, name) in [("other", "api"), ("acme", "other")] {
            let error = open(&key, tenant, name, &record).unwrap_err();
            assert!(error.contains("another tenant"), "{error}");
        }
        let mut bytes = BASE64_STANDARD.decode(&record.sealed).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let damaged = SecretRecord { sealed: BASE64_STANDARD.encode(bytes), ..record.clone() };
        let (_, stranger) = sealed("acme", "api");
        for bad in [
            damaged,
            SecretRecord { sender: stranger.sender, ..record.clone() },
            SecretRecord { sealed: "?".into(), ..record },
        ] {
            assert!(open(&key, "acme", "api", &bad).unwrap_err().contains("damaged"));
        }
    }

    #[test]
    fn nothing_shown_holds_a_value_or_a_seed() {
        let (key, record) = sealed("acme", "api");
        let shown = format!("{key:?} {record:?}");
        assert!(!shown.contains("sk-12345678") && !shown.contains(&key.seed().unwrap()), "{shown}");
    }
}
