//! What a benchmark found, as a table for people or one JSON object per line for scripts.
//!
//! The names of the metrics and of the JSON fields are an interface: they are added to, never renamed.

use std::collections::BTreeMap;
use std::io::Write as _;

use hdrhistogram::Histogram;
use serde::Serialize;

/// What one run of one benchmark gave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// In the unit of the metric: of rates more is better, of times less.
    pub(crate) value: f64,
    /// CPU seconds of every process involved, for each GB (10^9 bytes) moved.
    pub(crate) cpu_s_per_gb: Option<f64>,
    /// CPU microseconds of every process involved, for each operation.
    pub(crate) cpu_us_per_op: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) extra: BTreeMap<&'static str, f64>,
}

impl Sample {
    /// `bytes` bytes moved in `seconds`, at the price of `cpu` seconds. The value is in MB/s (10^6 bytes).
    pub(crate) fn of_bytes(bytes: u64, seconds: f64, cpu: f64) -> Self {
        let bytes = bytes as f64;
        Self { value: bytes / 1e6 / seconds, cpu_s_per_gb: Some(cpu / (bytes / 1e9)), ..Self::default() }
    }

    /// `ops` operations done in `seconds`, at the price of `cpu` seconds. The value is in operations per second.
    pub(crate) fn of_ops(ops: u64, seconds: f64, cpu: f64) -> Self {
        let ops = ops.max(1) as f64;
        Self { value: ops / seconds, cpu_us_per_op: Some(cpu * 1e6 / ops), ..Self::default() }
    }

    pub(crate) fn with_latencies(mut self, latencies: &Histogram<u64>) -> Self {
        self.p50_us = Some(latencies.value_at_quantile(0.5) as f64 / 1e3);
        self.p99_us = Some(latencies.value_at_quantile(0.99) as f64 / 1e3);
        self
    }

    pub(crate) fn with_extra(mut self, name: &'static str, value: f64) -> Self {
        self.extra.insert(name, value);
        self
    }
}

/// A histogram of nanoseconds up to a minute, true to three digits.
pub(crate) fn latencies() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("the bounds are valid constants");
    histogram.auto(true);
    histogram
}

/// The median over the runs of one metric.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measurement {
    metric: &'static str,
    value: f64,
    unit: &'static str,
    min: f64,
    max: f64,
    runs: usize,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    cpu_s_per_gb: Option<f64>,
    cpu_us_per_op: Option<f64>,
    /// What the bare machine gave for the same work in the same invocation.
    limit: Option<f64>,
    limit_metric: Option<&'static str>,
    /// The value as a share of the limit.
    ratio: Option<f64>,
    #[serde(flatten)]
    extra: BTreeMap<&'static str, f64>,
}

impl Measurement {
    /// # Panics
    /// Without any sample: every benchmark runs at least once.
    pub(crate) fn new(metric: &'static str, unit: &'static str, samples: &[Sample]) -> Self {
        let over = |field: fn(&Sample) -> Option<f64>| median(samples.iter().filter_map(field).collect());
        let values = || samples.iter().map(|sample| sample.value);
        let names = samples.iter().flat_map(|sample| sample.extra.keys().copied());
        let extra = names.filter_map(|name| {
            Some((name, median(samples.iter().filter_map(|sample| sample.extra.get(name).copied()).collect())?))
        });
        Self {
            metric,
            value: median(values().collect()).expect("a benchmark runs at least once"),
            unit,
            min: round(values().fold(f64::INFINITY, f64::min)),
            max: round(values().fold(0.0, f64::max)),
            runs: samples.len(),
            p50_us: over(|sample| sample.p50_us),
            p99_us: over(|sample| sample.p99_us),
            cpu_s_per_gb: over(|sample| sample.cpu_s_per_gb),
            cpu_us_per_op: over(|sample| sample.cpu_us_per_op),
            limit: None,
            limit_metric: None,
            ratio: None,
            extra: extra.collect(),
        }
    }

    /// Sets it against a limit measured beside it.
    pub(crate) fn against(mut self, limit: &Self) -> Self {
        self.limit = Some(limit.value);
        self.limit_metric = Some(limit.metric);
        self.ratio = Some(round(self.value / limit.value));
        self
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(round(if values.len().is_multiple_of(2) { (values[middle - 1] + upper) / 2.0 } else { upper }))
}

/// Three digits after the point: more would only be noise in the output.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Prints measurements as they come.
#[derive(Debug)]
pub(crate) struct Reporter {
    json: bool,
    heading_printed: bool,
}

impl Reporter {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, heading_printed: false }
    }

    pub(crate) fn print(&mut self, found: &Measurement) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(found)?)?;
        } else {
            if !self.heading_printed {
                self.heading_printed = true;
                let heading = ["metric", "value", "unit", "min .. max", "p50", "p99", "CPU", "share of the limit"];
                writeln!(out, "{}", columns(heading.map(str::to_owned)))?;
            }
            writeln!(out, "{}", row(found))?;
        }
        out.flush()?;
        Ok(())
    }

    /// A remark for people; scripts do not see it.
    pub(crate) fn note(&self, text: &str) -> anyhow::Result<()> {
        writeln!(std::io::stderr().lock(), "{text}")?;
        Ok(())
    }
}

fn row(found: &Measurement) -> String {
    let cpu = match (found.cpu_s_per_gb, found.cpu_us_per_op) {
        (Some(seconds), _) => format!("{seconds:.2} s/GB"),
        (None, Some(micros)) => format!("{micros:.1} us/op"),
        (None, None) => "-".to_owned(),
    };
    let of_limit = match (found.ratio, found.limit_metric) {
        (Some(ratio), Some(limit)) => format!("{:.0} % of {limit}", ratio * 100.0),
        _ => String::new(),
    };
    let range = format!("{} .. {}", number(found.min), number(found.max));
    let extra: Vec<String> = found.extra.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
    columns([
        found.metric.to_owned(),
        number(found.value),
        found.unit.to_owned(),
        range,
        micros(found.p50_us),
        micros(found.p99_us),
        cpu,
        [of_limit, extra.join(", ")].join(" "),
    ])
}

fn columns([metric, value, unit, range, p50, p99, cpu, rest]: [String; 8]) -> String {
    let line = format!("{metric:<20} {value:>8} {unit:<9} {range:>16} {p50:>8} {p99:>8} {cpu:>11}  {}", rest.trim());
    line.trim_end().to_owned()
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn micros(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(micros) if micros >= 10_000.0 => format!("{:.1} ms", micros / 1e3),
        Some(micros) if micros >= 1_000.0 => format!("{:.2} ms", micros / 1e3),
        Some(micros) => format!("{micros:.0} us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_runs_is_reported() {
        let samples: Vec<Sample> = [3.0, 1.0, 2.0].map(|value| Sample { value, ..Sample::default() }).into();
        let found = Measurement::new("limit.tcp", "MB/s", &samples);
        assert_eq!((found.value, found.min, found.max, found.runs), (2.0, 1.0, 3.0, 3));
        assert_eq!(median(vec![1.0, 2.0]), Some(1.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_json_line_has_the_promised_fields() {
        let sample = Sample::of_ops(1000, 0.5, 0.01).with_extra("fsyncs_per_s", 250.0);
        let limit = Measurement::new("limit.fdatasync", "syncs/s", &[Sample { value: 500.0, ..Sample::default() }]);
        let found = Measurement::new("meta.create", "ops/s", &[sample]).against(&limit);
        let json = serde_json::to_value(&found).expect("plain fields always serialize");
        assert_eq!(json["metric"], "meta.create");
        assert_eq!(json["value"], 2000.0);
        assert_eq!(json["unit"], "ops/s");
        assert_eq!(json["cpu_us_per_op"], 10.0);
        assert_eq!(json["limit"], 500.0);
        assert_eq!(json["ratio"], 4.0);
        assert_eq!(json["fsyncs_per_s"], 250.0);
        assert!(json["p50_us"].is_null() && json["p99_us"].is_null());
    }
}
