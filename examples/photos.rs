//! Thumbnails, colours and a contact sheet of photographs: three modules in three languages, called like functions.
//!
//! For each photo `thumbs/resize` (Rust) makes a thumbnail and `palette/run` (C) finds its colours; then `sheet/run` (Go) lays
//! out all of them. One file is no photo at all, to show how a failure is reported. `scripts/demo` runs this from nothing; with
//! a platform that has the three modules it is `cargo run --example photos`.

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use clap::Parser as _;
use futures::future::join_all;
use lovage::broker::nats::{Nats, Options};
use lovage::client::Client;
use lovage::model::{Signature, Tenant, lifecycle::Usage};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

/// Makes thumbnails and a contact sheet.
#[derive(clap::Parser)]
struct Args {
    /// Where the files are written.
    #[arg(default_value = "target/demo")]
    out: PathBuf,
    /// Folder of JPEG files.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photos"))]
    photos: PathBuf,
    /// Address of the broker.
    #[arg(long, env = "LOVAGE_NATS", default_value = "nats://127.0.0.1:4222")]
    nats: String,
}

/// What `thumbs/resize` returns. Bytes are base64 in JSON.
#[derive(Deserialize)]
struct Thumb {
    jpeg: String,
    width: u32,
    height: u32,
    swatch: String,
}

/// What `palette/run` returns.
#[derive(Deserialize)]
struct Palette {
    colours: Vec<String>,
}

/// What `sheet/run` returns.
#[derive(Deserialize)]
struct Sheet {
    jpeg: String,
}

/// What came of one photo, and what it took.
struct Card {
    thumb: Thumb,
    colours: Vec<String>,
    used: [Usage; 2],
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { out, photos, nats } = Args::parse();
    let nats =
        Nats::connect(Options::new(nats, "photos")).await.context("failed to connect; `lovage dev` starts a broker")?;
    let client = Client::new(nats.broker(), Tenant::default_tenant());
    let photos = read(&photos)?;

    // All photos at once: hosts take as many as they have slots, the others wait in the queue.
    let cards = join_all(photos.iter().map(|(_, photo)| examine(&client, photo))).await;
    fs::create_dir_all(&out)?;
    let mut cells = Vec::new();
    print_head();
    for ((name, photo), card) in photos.iter().zip(cards) {
        match card {
            Ok(card) => {
                print_row(name, photo.len(), &card);
                fs::write(out.join(name), BASE64.decode(&card.thumb.jpeg)?)?;
                cells.push(json!({"name": name, "jpeg": card.thumb.jpeg, "colours": card.colours}));
            }
            Err(error) => println!("{name:15}{:>10}  failed: {error}", kib(photo.len())),
        }
    }

    let input = json!({"title": "Made by Lovage", "columns": 3, "photos": cells});
    let (sheet, used): (Sheet, _) = call(&client, "sheet/run", &input).await?;
    let file = out.join("contact-sheet.jpg");
    fs::write(&file, BASE64.decode(&sheet.jpeg)?)?;
    println!("\n{} ({} fuel, {} ms in the sandbox)", file.display(), millions(used.fuel), used.duration_us / 1000);
    Ok(())
}

/// Makes a photo's thumbnail, and finds its colours.
async fn examine(client: &Client, photo: &[u8]) -> anyhow::Result<Card> {
    let input = json!({"photo": BASE64.encode(photo), "width": 240});
    let (thumb, resized): (Thumb, _) = call(client, "thumbs/resize", &input).await?;
    let input = json!({"swatch": thumb.swatch, "count": 5});
    let (palette, measured): (Palette, _) = call(client, "palette/run", &input).await?;
    Ok(Card { thumb, colours: palette.colours, used: [resized, measured] })
}

/// Calls a task and waits for its output. A task that failed is an error here; so is a broker that is away.
async fn call<Output: DeserializeOwned>(
    client: &Client,
    task: &str,
    input: &impl Serialize,
) -> anyhow::Result<(Output, Usage)> {
    let settled = client.call(Signature::new(task.parse()?, serde_json::to_vec(input)?)).await?;
    let output = client.output(&settled).await?;
    Ok((serde_json::from_slice(&output)?, settled.usage))
}

/// The photos of a folder by name, and one file that only looks like one.
fn read(folder: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut photos = vec![("broken.jpg".to_owned(), b"This is no photograph.\n".to_vec())];
    for entry in fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
        let path = entry?.path();
        if let (Some("jpg"), Some(name)) = (path.extension().and_then(|e| e.to_str()), path.file_name()) {
            photos.push((name.to_string_lossy().into_owned(), fs::read(&path)?));
        }
    }
    photos.sort();
    Ok(photos)
}

fn print_head() {
    let colours = if std::io::stdout().is_terminal() { 10 } else { 39 };
    println!(
        "{:15}{:>10}  {:24}{:colours$}{:>12}{:>9}  host",
        "photo", "size", "thumbnail", "colours", "fuel", "sandbox"
    );
}

fn print_row(name: &str, size: usize, Card { thumb, colours, used }: &Card) {
    let [resized, measured] = used;
    let thumbnail = format!("{} x {}, {}", thumb.width, thumb.height, kib(thumb.jpeg.len() / 4 * 3));
    let colours = if std::io::stdout().is_terminal() {
        colours.iter().map(|colour| swatch(colour)).collect()
    } else {
        colours.join(" ")
    };
    let fuel = millions(resized.fuel + measured.fuel);
    let millis = (resized.duration_us + measured.duration_us) / 1000;
    let host = resized.host.as_ref().map_or("", |host| host.as_str());
    println!("{name:15}{:>10}  {thumbnail:24}{colours}{fuel:>12}{millis:>6} ms  {host}", kib(size));
}

/// Two cells of a terminal in a colour such as `#2b4a6f`.
fn swatch(colour: &str) -> String {
    let rgb = u32::from_str_radix(colour.trim_start_matches('#'), 16).unwrap_or_default();
    format!("\x1b[48;2;{};{};{}m  \x1b[0m", rgb >> 16, rgb >> 8 & 255, rgb & 255)
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

fn millions(fuel: u64) -> String {
    format!("{} million", fuel.div_ceil(1_000_000))
}
