//! What a broker refuses or fails with.

/// The result of a broker's operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation of a broker failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The subject's last message is not the one that was expected. The publisher reads it and decides anew.
    #[error("publish: another message came first on {subject}")]
    Conflict {
        /// Where the publish was refused.
        subject: String,
    },
    /// The subject holds a message and its stream allows one at a time.
    #[error("publish: {subject} is occupied")]
    Occupied {
        /// Where the publish was refused.
        subject: String,
    },
    /// The stream is full. Nothing was stored; the publisher waits or tells its own caller.
    #[error("publish: the stream of {subject} is full")]
    Full {
        /// Where the publish was refused.
        subject: String,
    },
    /// The message is larger than the broker takes.
    #[error("publish: {size} bytes are more than the {max} that the broker takes")]
    TooLarge {
        /// The message's size.
        size: usize,
        /// The broker's bound.
        max: usize,
    },
    /// No stream captures the subject, or a stream or a bucket is not there (yet).
    #[error("find the stream or bucket of {0}")]
    NotFound(String),
    /// The broker does not answer: away, restarting, or choosing a leader. The operation may have happened all the same, or may
    /// happen yet: a publish is repeated with the same message id or expected sequence.
    #[error("reach the broker: {0}")]
    Unavailable(String),
    /// The broker does not let us: credentials or permissions.
    #[error("use the broker: {0}")]
    Denied(String),
    /// The broker is one that Lovage cannot work with.
    #[error("use the broker: {0}")]
    Unsuitable(String),
    /// Anything else that the broker answered.
    #[error("use the broker: {0}")]
    Other(String),
}

impl Error {
    /// Whether the same operation may succeed later without anybody's doing.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Full { .. } | Self::NotFound(_) => true,
            Self::Conflict { .. }
            | Self::Occupied { .. }
            | Self::TooLarge { .. }
            | Self::Denied(_)
            | Self::Unsuitable(_)
            | Self::Other(_) => false,
        }
    }
}
