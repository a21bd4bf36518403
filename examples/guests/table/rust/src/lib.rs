//! What every language must be able to do: see ../../README.md. A typed component without our SDK.

wit_bindgen::generate!({
    world: "example:table/table",
    path: ["../../../../guest-sdk/wit", "../wit"],
    generate_all,
});

use lovage::task::host::{Level, log, progress};

struct Table;

export!(Table);

impl Guest for Table {
    fn sum(numbers: Vec<f64>) -> f64 {
        numbers.iter().fold(0.0, |total, number| total + number)
    }

    fn echo(text: String) -> String {
        text
    }

    fn busy() -> Result<(), Failure> {
        Err(Failure::Retryable("try again".to_owned()))
    }

    fn never() -> Result<(), Failure> {
        Err(Failure::Permanent("never again".to_owned()))
    }

    fn say() -> u32 {
        for line in 1..=3 {
            log(Level::Info, &format!("line {line}: grüße"));
        }
        3
    }

    fn steps(count: u32) -> u32 {
        for step in 1..=count {
            progress(step.into(), Some(count.into()), Some("step"));
        }
        count
    }

    fn panic() {
        panic!("as asked");
    }
}
