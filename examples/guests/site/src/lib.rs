//! The site of a small museum, and the bookkeeping of whoever crawls it.
//!
//! `fetch` stands for a request over HTTP: the pages are made from a table. One of them is busy at first, and one link is dead.

use std::collections::BTreeSet;

use lovage_guest::{Failure, attempt, data, info, task};

/// Every page: its path, its title, and the links in its text. All have the navigation too.
const PAGES: &[(&str, &str, &[&str])] = &[
    ("/", "Museum of Kitchen Gardens", &["/visit", "/news/harvest", "https://example.org/partner"]),
    ("/visit", "Visit us", &["/visit/tickets", "/visit/map", "/#opening-hours"]),
    ("/visit/tickets", "Tickets", &["/visit", "/admin/tickets"]),
    ("/visit/map", "How to find us", &["/visit"]),
    ("/collection", "Collection", &["/collection/herbs", "/collection/tools", "/collection/herbs"]),
    ("/collection/herbs", "Herbs", &["/collection/herbs/lovage", "/collection/herbs/celery"]),
    ("/collection/herbs/lovage", "Lovage", &["/collection/herbs/celery", "/collection/tools"]),
    ("/collection/herbs/celery", "Celery", &["/collection/herbs/lovage"]),
    ("/collection/tools", "Tools", &["/collection", "/collection/tools/spade"]),
    ("/collection/tools/spade", "A spade", &["/collection/tools"]),
    ("/news", "News", &["/news/harvest", "/news/2009"]),
    ("/news/harvest", "The harvest is in", &["/news"]),
    ("/admin/tickets", "Staff only", &[]),
];
const NAVIGATION: &[&str] = &["/", "/visit", "/collection", "/news"];
/// The page that answers at its third attempt.
const BUSY: &str = "/visit/tickets";

/// A page as it came.
#[data]
struct Page {
    path: String,
    title: String,
    html: String,
}

/// A page that was looked at, or why it could not be.
#[data]
struct Seen {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    links: Vec<String>,
    #[serde(default)]
    error: Option<Trouble>,
}

#[data]
struct Trouble {
    message: String,
}

/// How far a crawl is.
#[data]
struct Crawl {
    /// Pages to fetch next.
    frontier: Vec<String>,
    /// Pages that were or will be fetched.
    known: BTreeSet<String>,
    /// Paths that the site asks robots to leave alone.
    disallowed: Vec<String>,
    /// Titles in the order of discovery.
    titles: Vec<String>,
    /// What could not be fetched.
    broken: Vec<String>,
}

/// Fetches a page.
#[task]
fn fetch(path: String) -> Result<Page, Failure> {
    let Some((path, title, links)) = PAGES.iter().find(|(known, ..)| *known == path) else {
        return Err(Failure::permanent(format_args!("404 Not Found: {path}")));
    };
    if *path == BUSY && attempt().number < 3 {
        return Err(Failure::retryable(format_args!("503 Service Unavailable: {path}")));
    }
    info!("fetched {path}");
    let anchors = NAVIGATION.iter().chain(*links).map(|link| format!("<a href=\"{link}\">{link}</a>\n"));
    let html =
        format!("<html><head><title>{title}</title></head><body>\n{}</body></html>", anchors.collect::<String>());
    Ok(Page { path: (*path).to_owned(), title: (*title).to_owned(), html })
}

/// What `/robots.txt` asks robots to leave alone.
#[task]
fn robots() -> [String; 1] {
    ["/admin".to_owned()]
}

/// Writes down what the last round found, and says what to fetch in the next: each page once, none that is disallowed.
#[task]
fn advance(mut crawl: Crawl, seen: Vec<Seen>) -> Crawl {
    let mut next = Vec::new();
    for Seen { title, links, error } in seen {
        crawl.titles.extend(title);
        crawl.broken.extend(error.map(|trouble| trouble.message));
        for link in links {
            let path = link.split('#').next().unwrap_or_default().to_owned();
            let allowed =
                path.starts_with('/') && !crawl.disallowed.iter().any(|prefix| path.starts_with(prefix.as_str()));
            if allowed && crawl.known.insert(path.clone()) {
                next.push(path);
            }
        }
    }
    crawl.frontier = next;
    crawl
}

lovage_guest::export!(fetch, robots, advance);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_is_fetched_once_and_what_is_disallowed_never() {
        let crawl = Crawl {
            frontier: vec!["/".to_owned()],
            known: BTreeSet::from(["/".to_owned()]),
            disallowed: robots().to_vec(),
            titles: vec![],
            broken: vec![],
        };
        let links = ["/", "/visit", "/visit#map", "/admin/tickets", "https://example.org/"].map(str::to_owned).to_vec();
        let seen = Seen { title: Some("Home".to_owned()), links, error: None };
        let next = advance(crawl, vec![seen]);
        assert_eq!((next.frontier, next.titles), (vec!["/visit".to_owned()], vec!["Home".to_owned()]));
    }
}
