//! A picture with a row for each program, and in each row a mark for each engine: its time as a
//! ratio to that of one engine, whose time is a line. The last row has the geometric means.

use super::axis::{Axis, number};
use super::{Area, INK, Mark, Place, TEXT, TITLE, WIDTH, picture, px, text, write};
use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// The picture's data.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Its title.
    pub title: String,
    /// What the axis shows.
    pub axis: String,
    /// The engine whose time is 1.
    pub unit: String,
    /// The names of the programs.
    pub programs: Vec<String>,
    /// The engines, in groups that have a name. Each group is a line of the legend.
    pub groups: Vec<(String, Vec<Engine>)>,
}

/// An engine in the picture.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Its name in the legend.
    pub name: String,
    /// What stands for it.
    pub mark: Mark,
    /// Its ratio for each program.
    pub ratios: Vec<Option<f64>>,
    /// Its geometric mean.
    pub mean: Option<f64>,
}

/// The sizes of parts, in pixels.
const ROW: u32 = 21;
const LINE: u32 = 21;
const HEAD: u32 = 58;
const FOOT: u32 = 40;
const NAMES: u32 = 158;
const RIGHT: u32 = 14;

impl Rows {
    /// Draws it.
    ///
    /// # Errors
    /// If the library that draws fails.
    pub fn draw(&self) -> Result<String> {
        let engines = || self.groups.iter().flat_map(|(_, engines)| engines);
        let ratios = engines().flat_map(|engine| engine.ratios.iter().flatten().copied());
        let axis = Axis::over(&self.axis, ratios.chain([1.0]));
        let head = HEAD + LINE * self.groups.len() as u32;
        // The means have a row, and half a row above them is free.
        let rows = self.programs.len() as f64 + 1.5;
        let height = head + (rows * f64::from(ROW)) as u32 + FOOT;
        picture(height, |area| {
            self.legend(area)?;
            let (_, body) = area.split_vertically(px(head));
            let mut chart = ChartBuilder::on(&body)
                .margin_right(px(RIGHT))
                .x_label_area_size(px(FOOT))
                .y_label_area_size(px(NAMES))
                .build_cartesian_2d(
                    (axis.low..axis.high).log_scale().with_key_points(axis.ticks.clone()),
                    -rows..0.0,
                )?;
            chart
                .configure_mesh()
                .disable_y_mesh()
                .y_labels(0)
                .set_tick_mark_size(LabelAreaPosition::Bottom, px(4))
                .bold_line_style(INK.mix(0.25).stroke_width(px(1) as u32))
                .light_line_style(TRANSPARENT)
                .axis_style(TRANSPARENT)
                .x_desc(&*axis.title)
                .x_label_formatter(&|tick| number(*tick))
                .label_style(text(TEXT, INK, HPos::Center, VPos::Top))
                .axis_desc_style(text(TEXT, INK, HPos::Center, VPos::Top))
                .draw()?;
            let at = |ratio: f64, row: f64| chart.backend_coord(&(ratio, -row));
            let line = |row: f64, opacity: f64| -> Result<()> {
                let ends = vec![at(axis.low, row), at(axis.high, row)];
                area.draw(&PathElement::new(ends, INK.mix(opacity).stroke_width(px(1) as u32)))?;
                Ok(())
            };
            let (top, bottom) = (at(1.0, 0.0), at(1.0, rows));
            let unit = vec![top, bottom];
            write(area, &self.unit, (top.0, top.1 - px(8)), TEXT, INK, HPos::Center)?;
            area.draw(&PathElement::new(unit, INK.stroke_width(px(2) as u32)))?;
            for (i, program) in self.programs.iter().enumerate() {
                let row = i as f64 + 0.5;
                line(row, 0.18)?;
                name(area, program, at(axis.low, row))?;
            }
            line(rows - 1.25, 0.8)?;
            name(area, "geometric mean", at(axis.low, rows - 0.5))?;
            // The first engines are drawn last, above the others.
            for engine in engines().collect::<Vec<_>>().into_iter().rev() {
                for (i, ratio) in engine.ratios.iter().enumerate() {
                    if let Some(ratio) = ratio {
                        engine.mark.draw(area, at(*ratio, i as f64 + 0.5), 4.4, 1.0)?;
                    }
                }
                if let Some(mean) = engine.mean {
                    engine.mark.draw(area, at(mean, rows - 0.5), 6.2, 1.0)?;
                }
            }
            Ok(())
        })
    }

    /// The title, and a line for each group: its name, and its engines with their means. Engines of
    /// the same name are below each other.
    fn legend(&self, area: &Area<'_>) -> Result<()> {
        write(area, &self.title, (px(12), px(16)), TITLE, INK, HPos::Left)?;
        let note = "the numbers are geometric means";
        write(area, note, (px(WIDTH - RIGHT), px(16)), TEXT, INK, HPos::Right)?;
        let mut columns: Vec<&str> = Vec::new();
        for (i, (group, engines)) in self.groups.iter().enumerate() {
            let y = px(44 + LINE * i as u32);
            write(area, group, (px(12), y), TEXT, INK, HPos::Left)?;
            for engine in engines {
                let column = columns.iter().position(|name| *name == engine.name);
                let column = column.unwrap_or_else(|| {
                    columns.push(&engine.name);
                    columns.len() - 1
                });
                let x = px(NAMES + 12 + 172 * column as u32);
                engine.mark.draw(area, (x, y), 5.0, 1.0)?;
                let mean = engine.mean.map_or(String::new(), |mean| format!("  {mean:.2}"));
                let label = format!("{}{mean}", engine.name);
                write(area, &label, (x + px(12), y), TEXT, INK, HPos::Left)?;
            }
        }
        Ok(())
    }
}

/// The name of a row that begins at this place.
fn name(area: &Area<'_>, name: &str, (x, y): Place) -> Result<()> {
    write(area, name, (x - px(10), y), TEXT, INK, HPos::Right)
}
