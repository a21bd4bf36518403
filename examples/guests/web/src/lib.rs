//! Asks services over HTTP: what a page is called, and any request that is described.

use std::collections::BTreeMap;
use std::time::Duration;

use lovage_guest::http::{self, Request, Response};
use lovage_guest::{Failure, data, info, task};

/// Redirects that are followed. Each one is a request of its own, which needs a grant of its own.
const REDIRECTS_MAX: usize = 5;

/// A page that was found.
#[data]
struct Page {
    /// Where it was found in the end.
    url: String,
    title: String,
}

/// What a page is called, wherever redirects lead.
#[task]
fn title(url: String) -> Result<Page, Failure> {
    let mut url = url;
    for _ in 0..=REDIRECTS_MAX {
        let response = http::get(&url)?;
        match response.status {
            200 => {
                let title = title_of(&String::from_utf8_lossy(&response.body));
                let title = title.ok_or_else(|| Failure::permanent("the page has no title").detail(&url))?;
                return Ok(Page { url, title });
            }
            301 | 302 | 303 | 307 | 308 => {
                let next = response.header("location").ok_or_else(|| Failure::permanent("a redirect to nowhere"))?;
                url = joined(&url, next);
                info!("redirected to {url}");
            }
            429 | 500..=599 => return Err(Failure::retryable(format!("the service answered {}", response.status))),
            status => return Err(Failure::permanent(format!("the service answered {status}"))),
        }
    }
    Err(Failure::permanent("too many redirects"))
}

/// The text between the first `<title>` and its end.
fn title_of(html: &str) -> Option<String> {
    let (_, rest) = html.split_once("<title>")?;
    let (title, _) = rest.split_once("</title>")?;
    let words: Vec<&str> = title.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// A location seen from a page: another page of the same service, or anywhere.
fn joined(from: &str, location: &str) -> String {
    match from.split_once("://") {
        Some((scheme, rest)) if location.starts_with('/') => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            format!("{scheme}://{authority}{location}")
        }
        _ => location.to_owned(),
    }
}

/// A request.
#[data]
struct Ask {
    url: String,
    /// GET where it is not given.
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body; with `bytes`, so many of them in its place.
    #[serde(default)]
    body: String,
    bytes: Option<usize>,
    timeout_ms: Option<u64>,
    /// How often it is made.
    times: Option<u32>,
}

/// What came of it.
#[data]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    /// The beginning of the body.
    text: String,
    bytes: usize,
}

/// Makes a request as it is described, and tells what came of it.
#[task]
fn request(ask: Ask) -> Result<Answer, Failure> {
    let body = ask.bytes.map_or_else(|| ask.body.clone().into_bytes(), |bytes| vec![b'x'; bytes]);
    let mut request = Request::new(ask.method.as_deref().unwrap_or("GET"), &ask.url).body(body);
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    if let Some(timeout) = ask.timeout_ms {
        request = request.timeout(Duration::from_millis(timeout));
    }
    for _ in 1..ask.times.unwrap_or(1) {
        request.clone().send()?;
    }
    Ok(answer(&request.send()?))
}

fn answer(response: &Response) -> Answer {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    Answer {
        status: response.status,
        headers: response.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        text: text(response.body.get(..1_000).unwrap_or(&response.body)),
        bytes: response.body.len(),
    }
}

lovage_guest::export!(title, request);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_found() {
        assert_eq!(title_of("<html><title> a\n b </title>").as_deref(), Some("a b"));
        assert_eq!(title_of("<title></title>"), None);
        assert_eq!(title_of("a page"), None);
    }

    #[test]
    fn locations_are_seen_from_their_page() {
        assert_eq!(joined("https://a.example/b?c", "/d"), "https://a.example/d");
        assert_eq!(joined("https://a.example", "http://b.example/"), "http://b.example/");
    }
}
