//! Copies of buffers as textures, for adapters that read those faster.

use super::buffer::BufferSlice;
use super::context::Context;
use super::shader::TEXTURE_WIDTH;
use crate::error::Result;
use crate::ops::{BufferSpec, Precision};

/// The format of a copy of elements stored so.
pub(super) fn format(precision: Precision) -> wgpu::TextureFormat {
    match precision {
        Precision::F32 => wgpu::TextureFormat::Rgba32Float,
        Precision::F16 => wgpu::TextureFormat::Rgba16Float,
    }
}

/// A texture of a buffer's size, [`TEXTURE_WIDTH`] texels a row. Kernels read it as a storage texture: that has no levels, which
/// Mesa's software adapter would look up for every lane of a load.
#[derive(Debug)]
pub(super) struct TextureCopy {
    texture: wgpu::Texture,
    view: wgpu::TextureView,
    texels: usize,
    /// Bytes of a texel: four elements.
    texel: usize,
}

impl TextureCopy {
    /// For a buffer whose elements are a multiple of four.
    pub(super) fn new(context: &Context, spec: &BufferSpec) -> Result<Self> {
        let texels = spec.len / 4;
        context.scoped(|| {
            let texture = context.device.create_texture(&wgpu::TextureDescriptor {
                label: Some("weights"),
                size: wgpu::Extent3d {
                    width: TEXTURE_WIDTH as u32,
                    height: texels.div_ceil(TEXTURE_WIDTH).max(1) as u32,
                    depth_or_array_layers: 1,
                },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: format(spec.precision),
                usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            });
            Self {
                view: texture.create_view(&wgpu::TextureViewDescriptor::default()),
                texture,
                texels,
                texel: spec.precision.bytes(4) as usize,
            }
        })
    }

    pub(super) fn view(&self) -> &wgpu::TextureView {
        &self.view
    }

    pub(super) fn bytes(&self) -> u64 {
        let size = self.texture.size();
        u64::from(size.width) * u64::from(size.height) * self.texel as u64
    }

    /// Copies what the buffer holds: whole rows, then the rest of the last one.
    pub(super) fn update(&self, encoder: &mut wgpu::CommandEncoder, from: &BufferSlice) {
        let rows = self.texels / TEXTURE_WIDTH;
        let rest = self.texels % TEXTURE_WIDTH;
        for (row, width, height) in [(0, TEXTURE_WIDTH, rows), (rows, rest, 1)] {
            if width * height == 0 {
                continue;
            }
            let start = (row * TEXTURE_WIDTH * self.texel) as u64;
            encoder.copy_buffer_to_texture(
                wgpu::TexelCopyBufferInfo {
                    buffer: from.buffer(),
                    layout: wgpu::TexelCopyBufferLayout {
                        offset: from.offset() + start,
                        bytes_per_row: Some((TEXTURE_WIDTH * self.texel) as u32),
                        rows_per_image: None,
                    },
                },
                wgpu::TexelCopyTextureInfo {
                    origin: wgpu::Origin3d {
                        x: 0,
                        y: row as u32,
                        z: 0,
                    },
                    ..self.texture.as_image_copy()
                },
                wgpu::Extent3d {
                    width: width as u32,
                    height: height as u32,
                    depth_or_array_layers: 1,
                },
            );
        }
    }
}
