//! The answers of the `node` program as runs.

use super::super::run::{Call, Number, ObservedValue, Outcome, Run};
use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

/// The run that an answer describes.
pub(super) fn run(answer: &Json, leader: &Run) -> Result<Run> {
    let mut run = Run::default();
    if let Some(refused) = answer.get("refused") {
        run.refused = Some(outcome(refused)?);
        return Ok(run);
    }
    for (call, made) in leader.calls.iter().zip(list(&answer["calls"])?) {
        let fuel = made["fuel"].as_i64().context("a number")? as i32;
        let fuel = Number::I32(fuel).into();
        run.calls.push(Call { outcome: outcome(&made["outcome"])?, fuel, ..call.clone() });
    }
    // It has no state if something was used up.
    for ((name, _), item) in
        leader.state.iter().zip(answer["state"].as_array().into_iter().flatten())
    {
        run.state.push((name.clone(), value(item)?));
    }
    Ok(run)
}

fn list(json: &Json) -> Result<&Vec<Json>> {
    json.as_array().with_context(|| format!("no list: {json}"))
}

fn values(json: &Json) -> Result<Vec<ObservedValue>> {
    list(json)?.iter().map(value).collect()
}

/// The only entry of an object.
fn entry(json: &Json) -> Result<(&str, &Json)> {
    let entries = json.as_object().with_context(|| format!("no object: {json}"))?;
    entries.iter().next().map(|(name, value)| (&**name, value)).context("an entry")
}

fn outcome(json: &Json) -> Result<Outcome> {
    let (how, what) = entry(json)?;
    let text = || what.as_str().context("a text");
    Ok(match how {
        "returned" => Outcome::Returned(values(what)?),
        "threw" => Outcome::Threw(values(what)?),
        "exhausted" => Outcome::Exhausted(text()?.to_string()),
        "trapped" => trapped(text()?),
        _ => Outcome::Failed(text()?.to_string()),
    })
}

/// How V8's message of a trap begins or ends, and the reason.
const TRAPS: [(&str, &str); 19] = [
    ("unreachable", "unreachable"),
    ("memory access out of bounds", "memory access"),
    ("data segment", "memory access"),
    ("table index is out of bounds", "table access"),
    ("table access out of bounds", "table access"),
    ("element segment", "table access"),
    ("table initializer", "table access"),
    ("divide by zero", "division by zero"),
    ("remainder by zero", "division by zero"),
    ("divide result unrepresentable", "a number that does not fit"),
    ("float unrepresentable", "a number that does not fit"),
    ("null function", "indirect call"),
    ("function signature mismatch", "indirect call"),
    ("dereferencing a null pointer", "null reference"),
    ("rethrowing null value", "null reference"),
    ("illegal cast", "cast"),
    ("array element access out of bounds", "array access"),
    ("table.", "table access"),
    ("memory.", "memory access"),
];

fn trapped(message: &str) -> Outcome {
    if message.contains("requested new array is too large") {
        return Outcome::Exhausted("size of an object".to_string());
    }
    match TRAPS.iter().find(|(text, _)| message.contains(text)) {
        Some((_, why)) => Outcome::Trapped((*why).into()),
        None => Outcome::Failed(message.to_string()),
    }
}

fn value(json: &Json) -> Result<ObservedValue> {
    match json.as_str() {
        Some("null") => return Ok(ObservedValue::Null),
        Some("deep") => return Ok(ObservedValue::Deep),
        Some(other) => bail!("an unknown value {other:?}"),
        None => {}
    }
    let (kind, json) = entry(json)?;
    let number = || json.as_i64().with_context(|| format!("no number: {json}"));
    let text = || json.as_str().with_context(|| format!("no text: {json}"));
    Ok(match kind {
        "i32" => Number::I32(number()? as i32).into(),
        "i64" => Number::I64(text()?.parse()?).into(),
        "f32" => Number::F32(number()? as u32).into(),
        "f64" => Number::F64(text()?.parse()?).into(),
        "i31" => ObservedValue::I31(number()? as i32),
        "extern" => ObservedValue::Extern(number()? as u32),
        "internalized" => ObservedValue::Internalized(number()? as u32),
        "externalized" => ObservedValue::Externalized(Box::new(value(json)?)),
        "func" => ObservedValue::Func(number()? as usize, 0, 0),
        "struct" => ObservedValue::Struct(values(json)?),
        "array" => {
            let length = json[0].as_u64().context("a length")? as u32;
            ObservedValue::Array(length, values(&json[1])?)
        }
        "table" => ObservedValue::Table(values(json)?),
        "memory" => {
            let length = json[0].as_u64().context("a length")? as usize;
            ObservedValue::Memory(length, json[1].as_u64().context("a hash")?)
        }
        other => bail!("an unknown kind of value {other:?}"),
    })
}
