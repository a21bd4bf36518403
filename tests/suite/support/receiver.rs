//! A receiver of webhooks: a real HTTP server that keeps what it is told, and answers as a test wants.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use super::eventually::PATIENCE;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    headers: Vec<(String, String)>,
    /// Its body.
    pub(crate) body: String,
}

impl Told {
    /// A header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type All = Arc<(Mutex<Vec<Told>>, Condvar)>;

/// A server on a port of its own. Its threads end with the test's process.
pub(crate) struct Receiver {
    /// Where it listens.
    pub(crate) url: String,
    all: All,
}

impl Receiver {
    /// Starts one that answers its n-th request, from 1, with this status; with `None` it never does.
    pub(crate) fn start(answer: impl Fn(usize) -> Option<u16> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/in?from=lovage", listener.local_addr().unwrap());
        let (all, answer): (All, _) = (Arc::default(), Arc::new(answer));
        let told = Arc::clone(&all);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (told, answer) = (Arc::clone(&told), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &told, answer.as_ref()));
            }
        });
        Self { url, all }
    }

    /// Waits until so many requests have come in all, and returns them.
    pub(crate) fn told(&self, count: usize) -> Vec<Told> {
        let (all, changed) = &*self.all;
        let few = |all: &mut Vec<Told>| all.len() < count;
        let (all, _) = changed.wait_timeout_while(all.lock().unwrap(), PATIENCE, few).unwrap();
        assert!(all.len() >= count, "{count} requests wanted: {all:?}");
        all.clone()
    }
}

fn serve(mut stream: TcpStream, told: &All, answer: &(dyn Fn(usize) -> Option<u16> + Send + Sync)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            // Whoever began to ask was killed: that is no request.
            Ok(0) | Err(_) => return,
            Ok(_) if line == "\r\n" => break,
            Ok(_) => {}
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let count = {
        let mut all = told.0.lock().unwrap();
        all.push(Told { headers, body: String::from_utf8(body).unwrap() });
        all.len()
    };
    told.1.notify_all();
    match answer(count) {
        Some(status) => drop(write!(stream, "HTTP/1.1 {status} so\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")),
        // Until whoever asked is gone.
        None => drop(reader.read(&mut [0])),
    }
}
