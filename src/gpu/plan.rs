//! A program loaded onto a GPU: buffers, bind groups, pipelines, and the dispatches to replay.

use std::ops::Range;
use std::sync::Arc;

use super::adapter;
use super::buffer::{self, BufferSlice, Part};
use super::choice::Choice;
use super::context::Context;
use super::kernel;
use super::loader::Loader;
use super::pipeline::{STEP_BYTES, UNIFORM_BYTES};
use super::recorder::{Binding, Recorded, Recorder, Recording};
use super::shader::Access;
use super::texture::TextureCopy;
use crate::device;
use crate::device::{DeviceBuffer, Plan, Span};
use crate::error::{Error, Result};
use crate::ops::{BufferId, BufferSpec, Precision, Program, SEED_WORDS, Section};

/// Dispatches in one submission at most: a command buffer takes memory for each.
const DISPATCHES_PER_SUBMIT: usize = 8192;

/// A program loaded onto a [`GpuDevice`](super::GpuDevice).
#[derive(Debug)]
pub struct GpuPlan {
    context: Arc<Context>,
    program: Program,
    buffers: Vec<BufferSlice>,
    table: wgpu::Buffer,
    parameters: wgpu::BindGroup,
    groups: Vec<wgpu::BindGroup>,
    pipelines: Vec<wgpu::ComputePipeline>,
    /// The kernel of each pipeline.
    labels: Vec<String>,
    sections: [Vec<Recorded>; 4],
    textures: Vec<(BufferId, TextureCopy)>,
    /// For each section the textures whose buffers it writes.
    refreshes: [Vec<usize>; 4],
    step_stride: u32,
    /// For reads; grows to the largest buffer that was read.
    staging: Option<wgpu::Buffer>,
    bytes: u64,
}

impl GpuPlan {
    /// Loads a program, all its recurrences as `choice` says if the tuner asks for one.
    pub(super) fn load(
        loader: &Loader,
        program: Program,
        external: &[(BufferId, DeviceBuffer)],
        choice: Option<Choice>,
    ) -> Result<Self> {
        let context = &loader.context;
        context.check_lost()?;
        for spec in program.buffers() {
            if !context.can_store(spec.precision) {
                return Err(Error::option(
                    "storage",
                    format!(
                        "buffer `{}` is stored in {:?}, for which the device {} lacks the feature SHADER_F16; take                          Precision::F32, or an adapter that has it, with LimitsChoice::Adapter",
                        spec.label,
                        spec.precision,
                        adapter::describe(&context.info),
                    ),
                ));
            }
            buffer::check_size(context, &spec.label, (spec.len, spec.precision))?;
        }
        let recorder = || Recorder::new(loader, &program, external).with_choice(choice);
        let mut recording = record_all(recorder(), &program)?;
        if recording.reads_what_it_writes() {
            recording = record_all(recorder().without_textures(), &program)?;
        }
        Self::assemble(loader, program, external, recording)
    }

    /// Creates what a recording needs.
    pub(super) fn assemble(
        loader: &Loader,
        program: Program,
        external: &[(BufferId, DeviceBuffer)],
        recording: Recording,
    ) -> Result<Self> {
        let Loader {
            context, pipelines, ..
        } = loader;
        check_recording(context, &recording)?;
        let buffers = bind_buffers(context, &program, external)?;
        let compiled = pipelines.get_all(context, &recording.pipelines)?;
        let tables = Tables::new(context, &recording)?;
        check_aliases(&program, &recording, &buffers)?;
        let textures = textures(context, &program, &recording)?;
        let refreshes = refreshes(&recording, &textures);
        let groups = bind_groups(loader, &program, &recording, (&buffers, &textures), &tables)?;
        let own = (0..).zip(&buffers).filter(|(index, _)| {
            let mut given = external.iter();
            !given.any(|(id, _)| id.0 == *index)
        });
        let own: u64 = own.map(|(_, slice)| slice.size()).sum();
        let plan = Self {
            bytes: own
                + tables.bytes()
                + textures.iter().map(|(_, copy)| copy.bytes()).sum::<u64>(),
            parameters: tables.bind(loader)?,
            table: tables.words,
            step_stride: tables.step_stride as u32,
            context: Arc::clone(context),
            program,
            buffers,
            groups,
            pipelines: compiled,
            labels: (recording.pipelines.iter())
                .map(|request| request.shader.label().to_owned())
                .collect(),
            sections: recording.sections,
            textures,
            refreshes,
            staging: None,
        };
        log::debug!(
            "loaded a program: {} dispatches, {} pipelines, {} bind groups, {} bytes",
            plan.sections.iter().map(Vec::len).sum::<usize>(),
            plan.pipelines.len(),
            plan.groups.len(),
            plan.bytes,
        );
        Ok(plan)
    }

    /// Writes a section's dispatches into an encoder of the caller's, in one compute pass, without splitting them: the
    /// caller decides what goes into one submission. What [`write`](Plan::write) and [`set_seed`](Plan::set_seed) wrote
    /// takes effect before the next submission of the queue.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; [`Error::Device`] if `encoder` is of another device.
    pub fn record(&mut self, section: Section, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        self.context.scoped(|| {
            self.encode(&self.sections[section as usize], encoder);
            self.refresh(section, encoder);
        })
    }

    /// The range of the underlying buffer that holds a buffer of the program, to be bound or copied by the caller; `None` for
    /// another program's.
    pub fn buffer(&self, buffer: BufferId) -> Option<&BufferSlice> {
        self.buffers.get(buffer.0)
    }

    /// Like [`Plan::read`], without blocking the executor's thread.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub async fn read_async(&mut self, buffer: BufferId, values: &mut [f32]) -> Result<()> {
        if let Some((staging, copy)) = self.start(&[], &[(buffer, values.len())])? {
            let precision = self.precision(buffer);
            let part = Part { values, precision };
            buffer::fetch_async(&self.context, &staging, copy, part).await?;
            self.staging = Some(staging);
        }
        Ok(())
    }

    fn precision(&self, buffer: BufferId) -> Precision {
        self.buffers[buffer.0].precision()
    }

    /// Bytes that a copy of the first `len` elements of a buffer takes.
    fn copied_bytes(&self, buffer: BufferId, len: usize) -> u64 {
        buffer::copied_bytes(len, self.precision(buffer))
    }

    /// Submits sections and copies of whole buffers to the staging buffer, one after the other; nothing is given back if nothing
    /// is read. The staging buffer is the plan's again once it is unmapped: a read that fails or is dropped half-way keeps it.
    fn start(
        &mut self,
        sections: &[Section],
        reads: &[(BufferId, usize)],
    ) -> Result<Option<(wgpu::Buffer, wgpu::SubmissionIndex)>> {
        self.context.check_lost()?;
        for (buffer, len) in reads {
            self.program.check_len(*buffer, *len)?;
            self.buffers[buffer.0].check_readable()?;
        }
        let stored = |(id, len): &(BufferId, usize)| (*id, self.copied_bytes(*id, *len));
        let reads: Vec<(BufferId, u64)> = reads.iter().map(stored).collect();
        let size = reads.iter().map(|(_, bytes)| bytes).sum();
        if size == 0 {
            if !sections.is_empty() {
                self.context.scoped(|| self.submit(sections, |_| ()))?;
            }
            return Ok(None);
        }
        let staging = match self.staging.take() {
            Some(staging) if staging.size() >= size => staging,
            _ => buffer::staging(&self.context, size)?,
        };
        let copy_all = |encoder: &mut wgpu::CommandEncoder| {
            let mut at = 0;
            for &(buffer, bytes) in reads.iter().filter(|(_, bytes)| *bytes > 0) {
                let slice = &self.buffers[buffer.0];
                encoder.copy_buffer_to_buffer(slice.buffer(), slice.offset(), &staging, at, bytes);
                at += bytes;
            }
        };
        let copy = (self.context).scoped(|| self.submit(sections, copy_all))?;
        Ok(Some((staging, copy)))
    }

    /// Runs a section and waits until it is done.
    pub(super) fn run_and_wait(&mut self, section: Section) -> Result<()> {
        let submission = self.context.scoped(|| self.submit(&[section], |_| ()))?;
        self.context.wait(submission)
    }

    /// Writes a section's dispatches in one pass between two timestamps.
    pub(super) fn encode_whole(
        &self,
        section: Section,
        encoder: &mut wgpu::CommandEncoder,
        queries: &wgpu::QuerySet,
    ) {
        self.encode_between(&self.sections[section as usize], encoder, (queries, 0));
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Kernel and workgroups of each of a section's dispatches.
    pub(super) fn labels(&self, section: Section) -> impl Iterator<Item = (&str, [u32; 3])> {
        let dispatches = self.sections[section as usize].iter();
        dispatches.map(|command| (self.labels[command.pipeline].as_str(), command.workgroups))
    }

    /// Writes a range of a section's dispatches, each in a pass of its own between two timestamps.
    pub(super) fn encode_timed(
        &self,
        section: Section,
        range: Range<usize>,
        encoder: &mut wgpu::CommandEncoder,
        queries: &wgpu::QuerySet,
    ) {
        let commands = &self.sections[section as usize][range];
        for (query, command) in (0..).step_by(2).zip(commands) {
            self.encode_between(std::slice::from_ref(command), encoder, (queries, query));
        }
    }

    /// Writes dispatches in one pass between the timestamps `query` and `query + 1`.
    fn encode_between(
        &self,
        commands: &[Recorded],
        encoder: &mut wgpu::CommandEncoder,
        (queries, query): (&wgpu::QuerySet, u32),
    ) {
        let pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: queries,
                beginning_of_pass_write_index: Some(query),
                end_of_pass_write_index: Some(query + 1),
            }),
        });
        self.encode_into(commands, pass);
    }

    fn encode(&self, commands: &[Recorded], encoder: &mut wgpu::CommandEncoder) {
        if commands.is_empty() {
            return;
        }
        let pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        self.encode_into(commands, pass);
    }

    fn encode_into(&self, commands: &[Recorded], mut pass: wgpu::ComputePass<'_>) {
        let (mut pipeline, mut group) = (usize::MAX, usize::MAX);
        let mut offsets = [u32::MAX; 2];
        for command in commands {
            if command.pipeline != pipeline {
                pipeline = command.pipeline;
                pass.set_pipeline(&self.pipelines[pipeline]);
            }
            let wanted = [command.uniform, command.step * self.step_stride];
            if wanted != offsets {
                offsets = wanted;
                pass.set_bind_group(0, &self.parameters, &offsets);
            }
            if command.group != group {
                group = command.group;
                pass.set_bind_group(1, &self.groups[group], &[]);
            }
            let [x, y, z] = command.workgroups;
            pass.dispatch_workgroups(x, y, z);
        }
    }

    /// Brings the copies of the buffers that a section writes up to date.
    fn refresh(&self, section: Section, encoder: &mut wgpu::CommandEncoder) {
        for &index in &self.refreshes[section as usize] {
            let (buffer, copy) = &self.textures[index];
            copy.update(encoder, &self.buffers[buffer.0]);
        }
    }

    /// Encodes and submits sections one after the other, and what `finish` adds: in one submission, unless that would exceed
    /// the budget.
    fn submit(
        &self,
        sections: &[Section],
        finish: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> wgpu::SubmissionIndex {
        let (queue, device) = (&self.context.queue, &self.context.device);
        let budget = self.context.options.submit_budget;
        let mut encoder = device.create_command_encoder(&Default::default());
        let (mut count, mut cost) = (0, 0u64);
        for &section in sections {
            let commands = &self.sections[section as usize];
            let mut start = 0;
            for (index, command) in commands.iter().enumerate() {
                let next = cost.saturating_add(command.cost);
                if count > 0 && (next > budget || count == DISPATCHES_PER_SUBMIT) {
                    self.encode(&commands[start..index], &mut encoder);
                    let full = std::mem::replace(
                        &mut encoder,
                        device.create_command_encoder(&Default::default()),
                    );
                    queue.submit([full.finish()]);
                    (start, count, cost) = (index, 0, 0);
                }
                count += 1;
                cost = cost.saturating_add(command.cost);
            }
            self.encode(&commands[start..], &mut encoder);
            self.refresh(section, &mut encoder);
        }
        finish(&mut encoder);
        queue.submit([encoder.finish()])
    }
}

impl Plan for GpuPlan {
    fn program(&self) -> &Program {
        &self.program
    }

    fn set_seed(&mut self, seed: u64) -> Result<()> {
        let words: [u32; SEED_WORDS] = [seed as u32, (seed >> 32) as u32];
        self.context.scoped(|| {
            let bytes = bytemuck::cast_slice(&words);
            self.context.queue.write_buffer(&self.table, 0, bytes);
        })
    }

    fn write(&mut self, buffer: BufferId, values: &[f32]) -> Result<()> {
        self.program.check_len(buffer, values.len())?;
        self.buffers[buffer.0].write(&self.context, 0, values)?;
        match self.textures.iter().find(|(id, _)| *id == buffer) {
            None => Ok(()),
            Some((_, copy)) => self.context.scoped(|| {
                let mut encoder = (self.context.device).create_command_encoder(&Default::default());
                copy.update(&mut encoder, &self.buffers[buffer.0]);
                self.context.queue.submit([encoder.finish()]);
            }),
        }
    }

    fn run(&mut self, section: Section) -> Result<()> {
        self.run_all(&[section])
    }

    fn run_all(&mut self, sections: &[Section]) -> Result<()> {
        self.start(sections, &[])?;
        // Frees what earlier submissions held and lets a loss be noticed.
        self.context.poll();
        self.context.check_lost()
    }

    fn read(&mut self, buffer: BufferId, values: &mut [f32]) -> Result<()> {
        self.run_and_read(&[], &mut [(buffer, values)])
    }

    fn run_and_read(
        &mut self,
        sections: &[Section],
        reads: &mut [(BufferId, &mut [f32])],
    ) -> Result<()> {
        let lengths: Vec<_> = (reads.iter())
            .map(|(buffer, values)| (*buffer, values.len()))
            .collect();
        if let Some((staging, copy)) = self.start(sections, &lengths)? {
            let mut parts: Vec<Part<'_>> = (reads.iter_mut())
                .map(|(buffer, values)| Part {
                    precision: self.precision(*buffer),
                    values,
                })
                .collect();
            buffer::fetch(&self.context, &staging, copy, &mut parts)?;
            self.staging = Some(staging);
        }
        Ok(())
    }

    fn dispatches(&self, section: Section) -> usize {
        self.sections[section as usize].len()
    }

    fn profile(&mut self, section: Section) -> Result<Vec<Span>> {
        self.measure(section)
    }

    fn bytes(&self) -> u64 {
        self.bytes + self.staging.as_ref().map_or(0, wgpu::Buffer::size)
    }
}

fn record_all(mut recorder: Recorder<'_>, program: &Program) -> Result<Recording> {
    for section in Section::ALL {
        recorder.section(section as usize);
        for operation in program.section(section) {
            kernel::record(operation, &mut recorder)?;
        }
    }
    Ok(recorder.finish())
}

/// Refuses what the device cannot hold, before anything is created.
fn check_recording(context: &Context, recording: &Recording) -> Result<()> {
    for (label, len) in [
        ("table", recording.words.len()),
        ("scratch", recording.scratch),
    ] {
        buffer::check_size(context, label, (len, Precision::F32))?;
    }
    let stride = step_stride(context);
    for (what, needed) in [
        (
            "parameters of all dispatches",
            (recording.uniforms.len() + UNIFORM_BYTES) as u64,
        ),
        ("relative steps", u64::from(recording.steps) * stride),
    ] {
        let limit = context.limits.max_buffer_size.min(u32::MAX.into());
        if needed > limit {
            return Err(Error::Limit {
                what: format!("{what} (bytes)"),
                needed,
                limit,
                advice: "use shorter chunks of time",
            });
        }
    }
    Ok(())
}

fn step_stride(context: &Context) -> u64 {
    STEP_BYTES.max(context.limits.min_uniform_buffer_offset_alignment.into())
}

/// The program's buffers: the caller's where given, new ones else.
fn bind_buffers(
    context: &Context,
    program: &Program,
    external: &[(BufferId, DeviceBuffer)],
) -> Result<Vec<BufferSlice>> {
    let bind = |(spec, given): (&BufferSpec, Option<&DeviceBuffer>)| match given {
        Some(buffer) => buffer::slice_of(context, buffer, &spec.label).map(Arc::unwrap_or_clone),
        None => BufferSlice::create(context, &spec.label, (spec.len, spec.precision)),
    };
    let given = device::bind(program, external)?;
    // Before anything is created.
    for (spec, given) in program.buffers().iter().zip(&given) {
        if let Some(buffer) = given {
            buffer::slice_of(context, buffer, &spec.label)?;
        }
    }
    let buffers = program.buffers().iter().zip(given).map(bind);
    buffers.collect()
}

/// The buffers that are no tensors of the program.
struct Tables {
    words: wgpu::Buffer,
    scratch: wgpu::Buffer,
    uniforms: wgpu::Buffer,
    steps: wgpu::Buffer,
    step_stride: u64,
}

impl Tables {
    fn new(context: &Context, recording: &Recording) -> Result<Self> {
        let step_stride = step_stride(context);
        let words_per_step = step_stride as usize / 4;
        let mut steps = vec![0u32; recording.steps as usize * words_per_step];
        for (step, words) in steps.chunks_mut(words_per_step).enumerate() {
            words[0] = step as u32;
        }
        let create = |label, size: usize, usage| {
            context.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: (size as u64).max(STEP_BYTES),
                usage: usage | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        context.scoped(|| {
            let (storage, uniform) = (wgpu::BufferUsages::STORAGE, wgpu::BufferUsages::UNIFORM);
            let tables = Self {
                words: create("table", 4 * recording.words.len(), storage),
                scratch: create("scratch", 4 * recording.scratch, storage),
                uniforms: create(
                    "parameters",
                    recording.uniforms.len() + UNIFORM_BYTES,
                    uniform,
                ),
                steps: create("steps", 4 * steps.len(), uniform),
                step_stride,
            };
            let queue = &context.queue;
            queue.write_buffer(&tables.words, 0, bytemuck::cast_slice(&recording.words));
            queue.write_buffer(&tables.uniforms, 0, &recording.uniforms);
            queue.write_buffer(&tables.steps, 0, bytemuck::cast_slice(&steps));
            tables
        })
    }

    fn bytes(&self) -> u64 {
        let all = [&self.words, &self.scratch, &self.uniforms, &self.steps];
        all.into_iter().map(wgpu::Buffer::size).sum()
    }

    /// Group 0.
    fn bind(&self, loader: &Loader) -> Result<wgpu::BindGroup> {
        let context = &loader.context;
        let entry = |binding, buffer, size| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset: 0,
                size: wgpu::BufferSize::new(size),
            }),
        };
        context.scoped(|| {
            context
                .device
                .create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some("parameters"),
                    layout: loader.pipelines.parameters_layout(),
                    entries: &[
                        entry(0, &self.uniforms, UNIFORM_BYTES as u64),
                        entry(1, &self.steps, STEP_BYTES),
                    ],
                })
        })
    }
}

/// WebGPU forbids a dispatch to read one part of a buffer and write another: two ranges of a caller's buffer can be that.
fn check_aliases(program: &Program, recording: &Recording, buffers: &[BufferSlice]) -> Result<()> {
    for group in &recording.groups {
        let ids = |wanted: Access| {
            group.iter().filter_map(move |binding| match binding {
                Binding::Read(id) | Binding::ReadWrite(id) if binding.access(program) == wanted => {
                    Some(id.0)
                }
                _ => None,
            })
        };
        for read in ids(Access::Read) {
            for written in ids(Access::ReadWrite) {
                if buffers[read].buffer() == buffers[written].buffer() {
                    let [read, written] =
                        [read, written].map(|id| program.buffers()[id].label.clone());
                    return Err(Error::shape(
                        format!("external buffers `{read}` and `{written}`"),
                        "ranges of two buffers, since one operation reads the one and writes the other",
                        "ranges of one",
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A texture for each buffer that is read as one.
fn textures(
    context: &Context,
    program: &Program,
    recording: &Recording,
) -> Result<Vec<(BufferId, TextureCopy)>> {
    let mut textures: Vec<(BufferId, TextureCopy)> = Vec::new();
    for binding in recording.groups.iter().flatten() {
        if let Binding::Texture(id) = *binding
            && textures.iter().all(|(known, _)| *known != id)
        {
            textures.push((id, TextureCopy::new(context, &program.buffers()[id.0])?));
        }
    }
    Ok(textures)
}

/// For each section the textures whose buffers it writes.
fn refreshes(recording: &Recording, textures: &[(BufferId, TextureCopy)]) -> [Vec<usize>; 4] {
    std::array::from_fn(|section| {
        let written =
            |&index: &usize| recording.uses(section, Binding::ReadWrite(textures[index].0));
        (0..textures.len()).filter(written).collect()
    })
}

/// Group 1 of every dispatch.
fn bind_groups(
    loader: &Loader,
    program: &Program,
    recording: &Recording,
    (buffers, textures): (&[BufferSlice], &[(BufferId, TextureCopy)]),
    tables: &Tables,
) -> Result<Vec<wgpu::BindGroup>> {
    let context = &loader.context;
    let bind = |bindings: &Vec<Binding>| {
        let access: Vec<Access> = bindings
            .iter()
            .map(|binding| binding.access(program))
            .collect();
        let layout = loader.pipelines.storage_layout(context, &access)?;
        let resource = |binding: &Binding| match binding {
            Binding::Read(id) | Binding::ReadWrite(id) => {
                wgpu::BindingResource::Buffer(buffers[id.0].binding())
            }
            Binding::Texture(id) => {
                let place = textures.iter().position(|(known, _)| known == id);
                let (_, copy) = &textures[place.unwrap_or(0)];
                wgpu::BindingResource::TextureView(copy.view())
            }
            Binding::Table => tables.words.as_entire_binding(),
            Binding::ScratchRead | Binding::ScratchWrite => tables.scratch.as_entire_binding(),
        };
        let entries: Vec<_> = (0..)
            .zip(bindings)
            .map(|(binding, what)| wgpu::BindGroupEntry {
                binding,
                resource: resource(what),
            })
            .collect();
        context.scoped(|| {
            context
                .device
                .create_bind_group(&wgpu::BindGroupDescriptor {
                    label: None,
                    layout: &layout,
                    entries: &entries,
                })
        })
    };
    recording.groups.iter().map(bind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::kernel::lib;
    use crate::gpu::recorder::Dispatch;
    use crate::gpu::shader::Shader;
    use crate::gpu::{GpuDevice, GpuOptions};
    use crate::ops::Role;

    /// Dispatches that differ only in their step share a uniform and a bind group, and each sees its own step, in order:
    /// a digit is appended to the number for each of them.
    #[test]
    fn steps_reach_their_dispatches() {
        let source = "
            struct Params { base: u32 }
            @group(0) @binding(0) var<uniform> params: Params;
            @group(1) @binding(0) var<storage, read_write> values: array<f32>;
            @compute @workgroup_size(1) fn main() {
                values[0] = values[0] * f32(params.base) + f32(relative_step.value);
            }";
        let shader = Shader::new("steps", &[lib::STEP, source], &[Access::ReadWrite], 4);
        let device = GpuDevice::request_blocking(&GpuOptions::new()).unwrap();
        let mut program = Program::new();
        let values = program.buffer("values", 1, Role::Output);
        let mut recorder = Recorder::new(device.loader(), &program, &[]);
        for step in [4, 2, 5, 0, 3] {
            let dispatch = Dispatch {
                shader: &shader,
                overrides: &[],
                uniform: bytemuck::bytes_of(&10u32),
                step: Some(step),
                bindings: &[Binding::ReadWrite(values)],
                workgroups: [1, 1, 1],
                cost: 1,
            };
            recorder.dispatch(&dispatch).unwrap();
        }
        let recording = recorder.finish();
        assert_eq!(recording.uniforms.len(), 256);
        assert_eq!((recording.groups.len(), recording.steps), (1, 6));
        let mut plan = GpuPlan::assemble(device.loader(), program, &[], recording).unwrap();
        plan.run(Section::Prepare).unwrap();
        let mut result = [0.0];
        plan.read(values, &mut result).unwrap();
        assert_eq!(result, [42503.0]);
    }

    #[test]
    fn conflicting_bindings_are_refused() {
        let bindings = [Access::Read, Access::ReadWrite];
        let shader = Shader::new("conflict", &[""], &bindings, 0);
        let device = GpuDevice::request_blocking(&GpuOptions::new()).unwrap();
        let mut program = Program::new();
        let values = program.buffer("values", 1, Role::Output);
        let mut recorder = Recorder::new(device.loader(), &program, &[]);
        let dispatch = Dispatch {
            shader: &shader,
            overrides: &[],
            uniform: &[],
            step: None,
            bindings: &[Binding::Read(values), Binding::ReadWrite(values)],
            workgroups: [1, 1, 1],
            cost: 1,
        };
        let error = recorder.dispatch(&dispatch).unwrap_err();
        assert!(error.to_string().contains("same buffer"), "{error}");
    }
}
