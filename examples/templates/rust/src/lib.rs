//! Tasks are the functions that `wit/task.wit` exports.

wit_bindgen::generate!({ world: "task" });

struct Module;

export!(Module);

impl Guest for Module {
    fn run(numbers: Vec<f64>) -> Result<Summary, Failure> {
        if numbers.is_empty() {
            return Err(Failure::Permanent("no numbers".to_owned()));
        }
        let count = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        Ok(Summary {
            count,
            mean: numbers.iter().sum::<f64>() / f64::from(count),
            min: numbers.iter().copied().fold(f64::INFINITY, f64::min),
            max: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}
