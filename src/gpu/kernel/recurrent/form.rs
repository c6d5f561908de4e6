//! The forms of the recurrent kernels: how many sequences a tile has, and how a product's inputs reach its threads.

use std::fmt;
use std::sync::Arc;

use crate::gpu::choice::{Choice, TILES};
use crate::gpu::unroll::{Texts, unroll};
use crate::ops::Recurrence;

/// Lanes of a subgroup that load for all.
const LANES: usize = 8;

/// A form of the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::gpu::kernel) struct Form {
    /// Sequences of a workgroup.
    pub(in crate::gpu::kernel) tile: usize,
    /// Inputs by subgroup broadcast, else through workgroup memory.
    pub(in crate::gpu::kernel) broadcast: bool,
    /// The weights of the recurrent product by a texture.
    pub(in crate::gpu::kernel) texture: bool,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.broadcast {
            true => "broadcast",
            false => "staged",
        };
        let weights = if self.texture { "_texture" } else { "" };
        write!(f, "{source}_{}{weights}", self.tile)
    }
}

impl Form {
    /// All that there are for an operation.
    pub(in crate::gpu::kernel) fn all(op: &Recurrence) -> Vec<Self> {
        let textures: &[bool] = match op.layout.slots {
            4 => &[true, false],
            _ => &[false],
        };
        let of_tile = |tile| {
            [true, false].into_iter().flat_map(move |broadcast| {
                { textures.iter() }.map(move |&texture| Self {
                    tile,
                    broadcast,
                    texture,
                })
            })
        };
        TILES.into_iter().flat_map(of_tile).collect()
    }

    /// The form of a choice.
    pub(in crate::gpu::kernel) fn new(choice: Choice) -> Self {
        Self {
            tile: choice.tile,
            broadcast: choice.broadcast,
            texture: choice.texture,
        }
    }

    /// The tile, at most this one's, for so many sequences: of measured ones the fastest leaves at most a quarter empty.
    pub(super) fn of_sequences(self, count: usize) -> Self {
        let suits = |tile: &usize| 4 * tile >= 3 * count;
        let tile = TILES.into_iter().find(suits).unwrap_or(self.tile);
        Self {
            tile: tile.min(self.tile),
            ..self
        }
    }

    /// The loops of product `name`, whose terms have `elements` elements.
    pub(super) fn product(self, name: &'static str, elements: usize) -> Arc<str> {
        static PRODUCTS: Texts<(Form, &str, usize)> = Texts::new();
        PRODUCTS.get((self, name, elements), || {
            let source = match self.broadcast {
                true => self.broadcast_product(elements),
                false => self.staged_product(elements),
            };
            source.replace("PRODUCT", name)
        })
    }

    fn broadcast_product(self, elements: usize) -> String {
        // A lane loads four elements at a time.
        let each = 4 / elements;
        let inputs = self.tile.max(LANES);
        let terms = each * inputs / self.tile;
        let source = include_str!("../../../../shaders/lib/product_broadcast.wgsl");
        let source = constants(
            source,
            &[
                ("EACH", each),
                ("LOADS", each * inputs / LANES),
                ("INPUTS", each * inputs),
                ("TERMS", terms),
            ],
        );
        let marks = [
            ("TERM", terms),
            ("LANE", self.tile),
            ("LOAD", each * inputs / LANES),
            ("INPUT", each * inputs),
            ("SLOT", inputs / LANES),
        ];
        unroll(&source, &marks)
    }

    fn staged_product(self, elements: usize) -> String {
        let (each, pack) = match elements == 1 && self.tile.is_multiple_of(4) {
            true => (4, include_str!("../../../../shaders/lib/pack_four.wgsl")),
            false => (1, include_str!("../../../../shaders/lib/pack_one.wgsl")),
        };
        let packs = self.tile / each;
        let source = include_str!("../../../../shaders/lib/product_staged.wgsl");
        let source = constants(source, &[("EACH", each), ("PACKS", packs)]);
        let marks = [("LANE", self.tile), ("PACK", packs)];
        pack.to_owned() + &unroll(&source, &marks)
    }

    /// Elements of the state that a thread of the backward's recurrent product takes.
    pub(in crate::gpu::kernel) fn units(self) -> usize {
        if self.broadcast { 4 } else { 1 }
    }

    /// The smallest workgroup: the lanes that load for all, or what fills a GPU's subgroup.
    pub(in crate::gpu::kernel) fn least_workgroup(self) -> usize {
        if self.broadcast { LANES } else { 32 }
    }

    /// Its module.
    pub(super) fn units_module(self) -> &'static str {
        match self.broadcast {
            true => include_str!("../../../../shaders/lib/units_four.wgsl"),
            false => include_str!("../../../../shaders/lib/units_one.wgsl"),
        }
    }

    /// The entry point.
    pub(super) fn entry(self) -> &'static str {
        match self.broadcast {
            true => include_str!("../../../../shaders/lib/main_broadcast.wgsl"),
            false => include_str!("../../../../shaders/lib/main_staged.wgsl"),
        }
    }
}

/// The source with names of constants replaced by their values, except in comments.
fn constants(source: &str, values: &[(&str, usize)]) -> String {
    let replace = |line: &str| {
        let mut line = line.to_owned();
        if !line.trim_start().starts_with("//") {
            for (name, value) in values {
                line = line.replace(name, &format!("{value}u"));
            }
        }
        line + "\n"
    };
    source.lines().map(replace).collect()
}
