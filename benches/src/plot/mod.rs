//! Pictures of what the benches measure, as SVG. [`rows`] has a row for each program and a mark for
//! each engine. [`curves`] has two axes and a line for each collector.
//!
//! A picture has no background. Its colours have a contrast of at least 3 to 1 to white and to black, and
//! those of its text at least 4 to 1, so that it can be read on light and on dark pages. Collectors
//! differ in colour and in shape. Marks of this project are filled.
//!
//! `plotters` has logarithmic axes with ticks at chosen values, and criterion uses it too. `charming` and
//! `plotly` need a browser to make an SVG. `poloto` and `charts-rs` have no logarithmic axes.

pub mod axis;
pub mod curves;
pub mod rows;

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// Units of the drawing for each pixel of the picture, because the library draws at whole units.
const SCALE: u32 = 4;

/// Text, and the outlines of axes.
const INK: RGBColor = RGBColor(0x6e, 0x77, 0x81);

/// The width of a picture in pixels. It is that of text on the pages that show the pictures.
const WIDTH: u32 = 880;

/// The sizes of text in pixels.
const TITLE: u32 = 15;
const TEXT: u32 = 13;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A place in units.
type Place = (i32, i32);

/// What stands for an engine in a picture.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    color: RGBColor,
    shape: Shape,
    filled: bool,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
}

impl Mark {
    /// The mark of a collector of either engine. `None` if no collector has this name.
    pub fn of(collector: &str) -> Option<Mark> {
        let (color, shape) = match collector {
            "generational" => (RGBColor(0x2f, 0x81, 0xf7), Shape::Circle),
            "copying" => (RGBColor(0xd9, 0x73, 0x0d), Shape::Square),
            "drc" => (RGBColor(0x2d, 0xa4, 0x4e), Shape::Triangle),
            "null" => (RGBColor(0xbf, 0x4b, 0x8a), Shape::Diamond),
            _ => return None,
        };
        Some(Mark { color, shape, filled: true })
    }

    /// The same mark, as an outline.
    #[must_use]
    pub fn hollow(self) -> Mark {
        Mark { filled: false, ..self }
    }

    /// Draws the mark with this radius in pixels, and with this opacity.
    fn draw(self, area: &Area<'_>, (x, y): Place, radius: f64, opacity: f64) -> Result<()> {
        let units = |pixels: f64| (pixels * f64::from(SCALE)).round() as i32;
        let style = self.color.mix(opacity);
        let style = match self.filled {
            true => style.filled(),
            false => style.stroke_width(units(1.6) as u32),
        };
        // The shapes have about the same area.
        let corners: Vec<Place> = match self.shape {
            Shape::Circle => {
                area.draw(&Circle::new((x, y), units(radius), style))?;
                return Ok(());
            }
            Shape::Square => {
                let r = units(radius * 0.89);
                vec![(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]
            }
            Shape::Triangle => {
                let (r, up, down) =
                    (units(radius * 1.2), units(radius * 1.25), units(radius * 0.9));
                vec![(x, y - up), (x + r, y + down), (x - r, y + down)]
            }
            Shape::Diamond => {
                let r = units(radius * 1.25);
                vec![(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
            }
        };
        match self.filled {
            true => area.draw(&Polygon::new(corners, style))?,
            false => {
                // The second corner again, so that the last join is drawn.
                let line = corners.iter().chain(&corners[..2]).copied();
                area.draw(&PathElement::new(line.collect::<Vec<_>>(), style))?;
            }
        }
        Ok(())
    }
}

/// Draws a picture of this height in pixels with `draw`, and returns its text.
fn picture(height: u32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    let (width, tall) = (WIDTH * SCALE, height * SCALE);
    {
        let area = SVGBackend::with_string(&mut text, (width, tall)).into_drawing_area();
        draw(&area)?;
        area.present()?;
    }
    // The drawing has more units than the picture has pixels.
    let size = format!("width=\"{width}\" height=\"{tall}\"");
    Ok(text.replacen(&size, &format!("width=\"{WIDTH}\" height=\"{height}\""), 1))
}

/// Units for these pixels.
fn px(pixels: u32) -> i32 {
    (pixels * SCALE) as i32
}

/// A style of text, with its size in pixels.
fn text(pixels: u32, color: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    // The backend divides the size by this number.
    let size = f64::from(pixels * SCALE) * 1.24;
    ("sans-serif", size).into_font().color(&color).pos(Pos::new(h, v))
}

/// Draws a text that is centred vertically.
fn write(
    area: &Area<'_>,
    what: &str,
    at: Place,
    pixels: u32,
    color: RGBColor,
    h: HPos,
) -> Result<()> {
    area.draw_text(what, &text(pixels, color, h, VPos::Center), at)?;
    Ok(())
}

/// Writes a picture to a file.
///
/// # Errors
/// If the file cannot be written.
pub fn save(path: &Path, picture: &str) -> Result<()> {
    std::fs::write(path, picture).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}
