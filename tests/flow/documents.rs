//! The flows that people copy from: those of the examples, and those on the page for people who come from Celery.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lovage::workflow::flow::Document;

use crate::accepted;

const PAGE: &str = include_str!("../../src/docs/from-celery.md");

/// The folders of the example flows.
fn examples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flows");
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The fenced blocks of a page in one language, each with the line that it begins at.
fn blocks(page: &str, language: &str) -> Vec<(usize, String)> {
    let (mut blocks, mut open): (Vec<(usize, String)>, Option<bool>) = (Vec::new(), None);
    for (line, text) in page.lines().enumerate() {
        match (text.strip_prefix("```"), open) {
            (Some(_), Some(_)) => open = None,
            (Some(opened), None) => {
                open = Some(opened == language);
                if opened == language {
                    blocks.push((line + 1, String::new()));
                }
            }
            (None, Some(true)) => {
                let (_, block) = blocks.last_mut().unwrap();
                block.push_str(text);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

/// The nodes in the tables and lists of a page: code in backticks that is one map, in YAML.
fn nodes_in_tables(page: &str) -> Vec<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| ") || line.starts_with("- "));
    let code = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    code.filter(|code| code.starts_with('{') && !code.starts_with("{\"")).collect()
}

#[test]
fn every_example_flow_is_accepted_and_called_after_its_folder() {
    assert!(examples().len() >= 7);
    for folder in examples() {
        let document = accepted(&fs::read_to_string(folder.join("flow.yaml")).unwrap());
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert_eq!(document.name.unwrap().as_str(), name);
        for file in ["input.json", "expected.json"] {
            let text = fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{name}/{file}: {error}"));
            drop(serde_json::from_str::<serde_json::Value>(&text).unwrap());
        }
    }
}

#[test]
fn every_example_flow_is_in_the_list_of_examples() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/README.md")).unwrap();
    for folder in examples() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("(flows/{name}/flow.yaml)")), "{name} is not linked from examples/README.md");
        let run = format!("exec examples/flows/{name}/flow.yaml @examples/flows/{name}/input.json");
        assert!(readme.contains(&run), "examples/README.md does not say how to run {name}");
    }
}

#[test]
fn every_flow_on_the_page_from_celery_is_accepted() {
    let blocks = blocks(PAGE, "yaml");
    assert!(blocks.len() >= 9, "{} blocks", blocks.len());
    for (line, block) in &blocks {
        let read = Document::parse_yaml(block);
        assert!(read.is_ok(), "from-celery.md:{line}: {read:#?}\n{block}");
    }
    let nodes = nodes_in_tables(PAGE);
    assert!(nodes.len() >= 20, "{} nodes", nodes.len());
    for node in nodes {
        let read = Document::parse_yaml(node);
        assert!(read.is_ok(), "from-celery.md: {node}: {read:#?}");
    }
}

#[test]
fn the_page_from_celery_uses_every_kind_of_node() {
    let schema = lovage::workflow::flow::schema().to_string();
    let kinds = "task chain group chord map starmap chunks choose loop poll sleep wait value flow";
    let page: BTreeSet<&str> = PAGE.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').collect();
    for kind in kinds.split(' ') {
        assert!(schema.contains(&format!("\"{kind}\"")), "{kind} is no kind");
        assert!(page.contains(format!("{kind}:").as_str()), "from-celery.md has no {kind}");
    }
}
