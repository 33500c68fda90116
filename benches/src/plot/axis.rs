//! Logarithmic axes: their range, and the numbers that are written along them.

/// A logarithmic axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows.
    pub title: String,
    /// The first value.
    pub low: f64,
    /// The last value.
    pub high: f64,
    /// The values with a number and a line.
    pub ticks: Vec<f64>,
}

/// The multiples of powers of ten that have a number, from few to many.
const LEVELS: &[&[f64]] = &[
    &[1.0],
    &[1.0, 3.0],
    &[1.0, 2.0, 5.0],
    &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
    &[1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0],
    &[1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
    &[1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0, 2.2, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
];

/// The least number of ticks.
const ENOUGH: usize = 5;

impl Axis {
    /// An axis for these values, with a little space at both ends. Values that are not positive and
    /// finite are ignored.
    pub fn over(title: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let usable = |value: &f64| value.is_finite() && *value > 0.0;
        let (low, high) = values
            .into_iter()
            .filter(usable)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        // An axis without values.
        let (low, high) = if low > high { (1.0, 1.0) } else { (low, high) };
        let space = (high / low).powf(0.04).max(1.03);
        let (low, high) = (low / space, high * space);
        Axis { title: title.to_owned(), low, high, ticks: ticks(low, high) }
    }

    /// The axis with ticks at these values.
    #[must_use]
    pub fn with_ticks(mut self, ticks: &[f64]) -> Axis {
        self.ticks = ticks.to_vec();
        self
    }
}

fn ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
    let at = |level: &[f64]| -> Vec<f64> {
        let all = decades
            .clone()
            .flat_map(|decade| level.iter().map(move |multiple| multiple * 10_f64.powi(decade)));
        all.filter(|tick| (low..=high).contains(tick)).collect()
    };
    let mut levels = LEVELS.iter().map(|level| at(level));
    let last = LEVELS.last().map(|level| at(level)).unwrap_or_default();
    levels.find(|ticks| ticks.len() >= ENOUGH).unwrap_or(last)
}

/// A number of an axis, without zeros at its end.
pub fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_enough_ticks_inside_of_them() {
        for high in [1.0, 1.3, 2.0, 7.0, 40.0, 3e3, 1e6] {
            let axis = Axis::over("", [0.9, high, f64::NAN, 0.0]);
            assert!(axis.low < 0.9 && axis.high > high);
            assert!(axis.ticks.iter().all(|tick| (axis.low..=axis.high).contains(tick)));
            assert!((2..=13).contains(&axis.ticks.len()), "{high}: {:?}", axis.ticks);
        }
    }

    #[test]
    fn an_axis_without_values_is_around_one() {
        let axis = Axis::over("", []);
        assert!(axis.low < 1.0 && axis.high > 1.0);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            ["0.2", "1", "1.5", "1000"],
            [0.2, 1.0, 1.5, 1e3].map(number).each_ref().map(|n| &**n)
        );
    }
}
