//! Pictures of flows, against golden files; `LOVAGE_GOLDEN=write` rewrites them, and the difference is reviewed.

use std::path::PathBuf;

use lovage::workflow::flow::graph::{LABEL_LEN_MAX, MEMBERS_MAX, dot, mermaid, svg};
use lovage::workflow::flow::{Document, count};
use serde_json::json;

fn golden(name: &str, drawn: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("LOVAGE_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, drawn).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(expected == drawn, "{name} has changed: rewrite it with LOVAGE_GOLDEN=write, and look at it");
}

#[test]
fn examples_are_drawn_as_before() {
    for (name, text) in crate::EXAMPLES {
        let document = crate::accepted(text);
        golden(&format!("graph-{name}.dot"), &dot(&document));
        golden(&format!("graph-{name}.mmd"), &mermaid(&document));
        golden(&format!("graph-{name}.svg"), &svg(&document));
    }
}

#[test]
fn every_node_has_its_place_in_the_drawing() {
    for (_, text) in crate::EXAMPLES {
        let document = crate::accepted(text);
        let drawn = svg(&document);
        let places: std::collections::BTreeSet<&str> =
            drawn.split("data-place=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        // Chains without a name are drawn as the line that they are, without a box.
        assert!(places.len() + 4 > count(&document), "{} of {}", places.len(), count(&document));
    }
}

#[test]
fn labels_stay_labels() {
    let evil = "</text><script>alert(1)</script>\" ]; x -> y \\\n```|#quot; & ${prev}";
    let document = Document::from_json(
        &json!({"chain": [{"value": evil}, {"choose": [{"when": "prev == '<b>\"'", "then": {"value": "]"}}]}]}),
    )
    .unwrap();
    let drawn = svg(&document);
    assert!(!drawn.contains("<script") && !drawn.contains("<b>") && drawn.contains("&lt;script&gt;"), "{drawn}");
    assert_eq!(drawn.matches("</text>").count(), drawn.matches("<text").count());
    let drawn = dot(&document);
    let label = drawn.lines().find(|line| line.contains("script")).unwrap();
    assert!(
        label.starts_with("  n1 [label=\"value </text><script>") && label.ends_with("\", shape=note, style=filled];"),
        "{label}"
    );
    let drawn = mermaid(&document);
    assert!(!drawn.contains("<script") && !drawn.contains("<b>") && drawn.contains("#60;script#62;"), "{drawn}");
}

#[test]
fn long_labels_and_lists_are_cut() {
    let members: Vec<_> = (0..10_000).map(|n| json!({"value": format!("{n}{}", "ä".repeat(1_000))})).collect();
    let document = Document::from_json(&json!({"group": &members[..400]})).unwrap();
    for drawn in [svg(&document), dot(&document), mermaid(&document)] {
        assert!(drawn.contains(&format!("{} more", 400 - MEMBERS_MAX)) && drawn.len() < 30_000, "{}", drawn.len());
        assert!(!drawn.contains(&"ä".repeat(LABEL_LEN_MAX)));
    }
}

#[test]
fn the_deepest_flow_is_drawn() {
    let deep = (1..64).fold(json!({"value": 1}), |inner, n| match n % 4 {
        0 => json!({"group": [inner]}),
        1 => json!({"map": inner}),
        2 => json!({"choose": [{"when": "true", "then": inner}]}),
        _ => json!({"value": 1, "catch": inner}),
    });
    let document = Document::from_json(&deep).unwrap();
    assert!(
        svg(&document).ends_with("</svg>\n") && dot(&document).ends_with("}\n") && mermaid(&document).ends_with('\n')
    );
}
