//! A server for guests' requests, good and bad, by path.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Serves until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Connections that are open now.
    open: watch::Receiver<usize>,
    _serving: JoinSet<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::with(None).await
    }

    pub(super) async fn with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, open) = watch::channel(0);
        let (counter, mut serving) = (Arc::clone(&connections), JoinSet::new());
        serving.spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let (counted, tls) = (counted.clone(), tls.clone());
                counted.send_modify(|open| *open += 1);
                all.spawn(async move {
                    match tls {
                        None => serve(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream).await;
                            }
                        }
                    }
                    counted.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { address, connections, open, _serving: serving }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A rule for everything that it serves under a name or its address.
    pub(super) fn rule(&self, host: &str) -> String {
        format!("http://{host}:{}", self.address.port())
    }

    /// Connections that it has seen.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many connections are open.
    pub(super) async fn until_open(&self, count: usize) {
        self.open.clone().wait_for(|open| *open == count).await.unwrap();
    }
}

/// One request of one connection.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Some((head, body)) = read(&mut stream).await else { return };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
    };
    let answered = match path.as_str() {
        "/page" => answer("200 OK", "content-type: text/html\r\n", "<html><title>A page\nof ours</title></html>"),
        "/untitled" => answer("200 OK", "", "<html></html>"),
        "/busy" => answer("503 Service Unavailable", "", ""),
        "/echo" => answer("200 OK", "", &format!("{head}{body} bytes")),
        "/hop" => b"HTTP/1.1 200 OK\r\nconnection: x-own\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\n\
            transfer-encoding: chunked\r\nx-own: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            .to_vec(),
        "/pause" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome".to_vec(),
        "/head-pause" => b"HTTP/1.1 200 OK\r\nx-slow".to_vec(),
        "/silent" => Vec::new(),
        "/short" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome".to_vec(),
        "/junk" => b"220 mail.example ESMTP\r\n".to_vec(),
        "/long-head" => answer("200 OK", &format!("x-long: {}\r\n", "x".repeat(1 << 20)), ""),
        "/many-heads" => answer("200 OK", &(0..10_000).map(|n| format!("x-{n}: {n}\r\n")).collect::<String>(), ""),
        "/endless" => return endless(&mut stream).await,
        redirect => match redirect.strip_prefix("/to?") {
            Some(location) => answer("302 Found", &format!("location: {location}\r\n"), ""),
            None => answer("404 Not Found", "", ""),
        },
    };
    drop(stream.write_all(&answered).await);
    drop(stream.flush().await);
    if matches!(path.as_str(), "/pause" | "/head-pause" | "/silent") {
        // Whoever waits goes in the end.
        drop(stream.read_to_end(&mut Vec::new()).await);
    }
}

/// The head of a request, and how many bytes its body has.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, usize)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        // What begins otherwise is not HTTP, but TLS in most cases.
        if stream.read_buf(&mut bytes).await.ok()? == 0 || !bytes[0].is_ascii_uppercase() {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|n| n.parse().ok());
    let length = length.unwrap_or(0);
    while bytes.len() - end < length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, bytes.len() - end))
}

async fn endless(stream: &mut (impl AsyncWrite + Unpin)) {
    let chunk = vec![b'x'; 64 << 10];
    drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
    while stream.write_all(&chunk).await.is_ok() {}
}
