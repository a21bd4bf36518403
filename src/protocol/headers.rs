//! The headers of a message: a short list of names and values, and the names that Lovage gives a meaning.

/// The most headers that a message of ours may carry.
pub const HEADERS_MAX: usize = 64;

/// The longest header value, in bytes.
pub const HEADER_LEN_MAX: usize = 8 << 10;

/// Names and values in the order in which they were set. Names are compared without regard to case, as NATS clients differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of `name`, the first one where there are several.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Sets `name`, in place of what it was. Line breaks, which would end a header, become spaces.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let mut value = value.into();
        if value.contains(['\r', '\n']) {
            value = value.replace(['\r', '\n'], " ");
        }
        match self.0.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The same headers with `name` set.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// The same headers as they arrive: white space around a value does not travel.
    #[must_use]
    pub fn as_received(self) -> Self {
        let received = |value: String| if value.trim() == value { value } else { value.trim().to_owned() };
        Self(self.0.into_iter().map(|(name, value)| (name, received(value))).collect())
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_values_hold_one_line() {
        let mut headers = Headers::new().with("Lovage-Task", "m/t");
        headers.set("lovage-task", "m/u\r\nEvil: 1");
        assert_eq!(headers.value("LOVAGE-TASK"), Some("m/u  Evil: 1"));
        assert_eq!(headers.iter().count(), 1);
        headers.remove("Lovage-task");
        assert!(headers.is_empty());
    }
}
