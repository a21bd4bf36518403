//! Values of runs on their way in and out.

use lovage::model::outcome::VALUE_INLINE_MAX;
use lovage::model::step_life::StepEnd;
use lovage::model::{Datum, Kind, RunId, Tenant, Value};
use lovage::protocol::task::{Form, TaskMessage, compose};
use lovage::store::values::{self, Shelf};

use super::{Steps, attempt, failure, first, output, run};

/// A call of `probe/echo` with an input of which parts stand elsewhere.
fn echo(input: &Datum) -> TaskMessage {
    let mut message = TaskMessage { form: Form::Composed, ..first("echo", "") };
    message.signature.input = Value::Inline(compose(input));
    message
}

/// A long text, kept for `run`, and the JSON that it is.
async fn kept(steps: &Steps, run: &RunId, letter: &str) -> (Datum, String) {
    let json = format!("\"{}\"", letter.repeat(VALUE_INLINE_MAX));
    let shelf = Tenant::default_tenant();
    let value = values::put(&steps.broker, Shelf::of_run(&shelf, run), json.clone().into()).await.unwrap();
    (Datum::of_value(&value).unwrap(), json)
}

pub(super) async fn an_input_is_put_together_from_parts(steps: Steps) {
    let _host = steps.host("host-1").await;
    let (run, tenant) = (run(), Tenant::default_tenant());
    let ((one, a), (other, b)) = (kept(&steps, &run, "a").await, kept(&steps, &run, "b").await);
    let input = Datum::array([&one, &Datum::null(), &other, &one]);
    let outcome = steps.run(&attempt("0", 1), &echo(&input)).await;
    let StepEnd::Succeeded(value @ Value::Stored { .. }) = &outcome.end else { panic!("{:?}", outcome.end) };
    let whole = values::get(&steps.broker, Shelf::of_run(&tenant, &run), value).await.unwrap();
    assert!(whole == format!("[{a},null,{b},{a}]"), "{} bytes", whole.len());
    // The composed form itself may stand elsewhere, as that of a thousand parts does.
    let mut message = echo(&Datum::array(std::iter::repeat_n(&Datum::null(), VALUE_INLINE_MAX)));
    let Value::Inline(body) = message.signature.input else { panic!("it was put inline") };
    message.signature.input = values::put(&steps.broker, Shelf::of_run(&tenant, &run), body).await.unwrap();
    let outcome = steps.run(&attempt("0", 2), &message).await;
    assert!(matches!(outcome.end, StepEnd::Succeeded(Value::Stored { .. })), "{:?}", outcome.end);
}

pub(super) async fn output_that_is_no_json_is_base64(steps: Steps) {
    let _host = steps.host("host-1").await;
    // Bytes, digits that would be JSON, and nothing.
    for (number, base64) in [(1, "\"/wA=\""), (2, "\"MTI=\""), (3, "\"\"")] {
        let outcome = steps.run(&attempt("0", number), &first("raw", base64)).await;
        assert_eq!(output(&outcome), base64, "what goes out can go in again");
    }
}

pub(super) async fn an_input_of_another_run_is_not_there(steps: Steps) {
    let _host = steps.host("host-1").await;
    let (foreign, _) = kept(&steps, &"01jd0000000000000000000000".parse().unwrap(), "a").await;
    let outcome = steps.run(&attempt("0", 1), &echo(&Datum::array([&foreign]))).await;
    let text = &failure(&outcome).message;
    assert!(failure(&outcome).kind == Kind::BadInput && text.contains("is not in the object store"), "{text}");
}
