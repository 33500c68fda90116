//! How a value that wraps another one passes calls on.

/// Returns what the wrapped value's method returns, if there is a wrapped value. Each provided method of a
/// trait whose values may wrap others begins with it. So a wrapper has all methods of what it wraps, also those
/// that the trait gets later.
///
/// # Examples
/// ```
/// trait Greeting {
///     /// What this value wraps.
///     fn wrapped(&self) -> Option<&dyn Greeting> {
///         None
///     }
///     fn name(&self) -> String {
///         gc_types::forward!(self.wrapped(), name());
///         "nobody".to_owned()
///     }
///     fn text(&self) -> String {
///         gc_types::forward!(self.wrapped(), text());
///         format!("Hello, {}.", self.name())
///     }
/// }
///
/// struct World;
/// impl Greeting for World {
///     fn name(&self) -> String {
///         "world".to_owned()
///     }
/// }
///
/// struct Louder(World);
/// impl Greeting for Louder {
///     fn wrapped(&self) -> Option<&dyn Greeting> {
///         Some(&self.0)
///     }
///     fn text(&self) -> String {
///         self.0.text().to_uppercase()
///     }
/// }
/// assert_eq!(Louder(World).text(), "HELLO, WORLD.");
/// assert_eq!(Louder(World).name(), "world");
/// ```
#[macro_export]
macro_rules! forward {
    ($wrapped:expr, $method:ident($($argument:expr),*)) => {
        if let Some(wrapped) = $wrapped {
            return wrapped.$method($($argument),*);
        }
    };
}
