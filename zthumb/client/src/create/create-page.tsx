// Create: what to generate, its adapters, and the jobs that are generated.

import { useMutation, useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { Button } from "react-aria-components";
import { useAdapters } from "../api/adapters";
import { ApiError, api, read } from "../api/client";
import { newestFirst, useServer } from "../api/jobs";
import { Choice, NumberBox, TextBox } from "../components/fields";
import { AdapterPicker } from "./adapter-picker";
import styles from "./create-page.module.css";
import { type CreateForm, faults, fromSearch, toRequest } from "./form";
import { ImageReader } from "./image-reader";
import { JobCard } from "./job-card";
import { ownSize, PresetField } from "./preset-field";
import { PromptWeights } from "./prompt-weights";
import { SeedField } from "./seed-field";
import { SizeField } from "./size-field";

const SHOWN = 24;
const SCHEDULES = ["linear", "cosine", "low-high-low", "interval:0.2-0.9"];

/** The form in the address, and how to change it. Typing does not fill the browser's history. */
export function useForm(): [CreateForm, (changes: Partial<CreateForm>) => void] {
  const form = useSearch({ from: "/" });
  const navigate = useNavigate({ from: "/" });
  const change = (changes: Partial<CreateForm>) =>
    void navigate({ search: (before: CreateForm) => fromSearch({ ...before, ...changes }), replace: true });
  return [form, change];
}

/** The form as it is by now, and not as it was when an adapter's upload began. */
function withAdapter(form: CreateForm, id: string): CreateForm {
  const others = (form.loras ?? []).filter((lora) => lora.id !== id);
  return fromSearch({ ...form, loras: [...others, { id, weight: 1 }] });
}

/** A default as its field shows it. */
function usual(value: number | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}

export function CreatePage() {
  const [form, change] = useForm();
  const navigate = useNavigate({ from: "/" });
  const { jobs } = useServer();
  const capabilities = useQuery({ queryKey: ["capabilities"], queryFn: () => read(api.GET("/capabilities")) }).data;
  const models = useQuery({ queryKey: ["models"], queryFn: () => read(api.GET("/models")) }).data;
  const presets = useQuery({ queryKey: ["presets"], queryFn: () => read(api.GET("/presets")) }).data?.presets ?? {};
  const adapters = useAdapters();
  const [refused, setRefused] = useState<string>();
  const submit = useMutation({
    mutationFn: () => read(api.POST("/jobs", { body: toRequest(form) as never })),
    onMutate: () => setRefused(undefined),
    onError: (error) => setRefused(error instanceof ApiError ? error.message : String(error)),
  });
  const { fields, other } = refused ? faults(refused) : { fields: {}, other: [] };
  const preset = presets[form.preset ?? ""];
  const variants = capabilities?.variants ?? {};
  const variant = variants[form.variant ?? preset?.variant ?? "full"] ?? Object.values(variants)[0];
  const generate = () => form.prompt.trim() && submit.mutate();

  return (
    <div className={styles.page}>
      <h1 className="hidden">Create</h1>
      <ImageReader
        onRead={(read) => void navigate({ search: read })}
        onAdapter={(id) => void navigate({ search: (before: CreateForm) => withAdapter(before, id), replace: true })}
      >
        <form
          className={styles.form}
          aria-label="What to generate"
          onSubmit={(event) => {
            event.preventDefault();
            generate();
          }}
        >
          <TextBox
            label="Prompt"
            value={form.prompt}
            onChange={(prompt) => change({ prompt })}
            rows={4}
            placeholder="a photo of a red star on a blue background"
            fault={fields.prompt}
            onSubmit={generate}
          />
          <PromptWeights prompt={form.prompt} parser={form.prompt_parser} steps={form.steps} />
          <TextBox
            label="Negative prompt"
            value={form.negative ?? ""}
            onChange={(negative) => change({ negative })}
            rows={2}
            fault={fields.negative}
            onSubmit={generate}
          />
          {form.negative && <PromptWeights prompt={form.negative} parser={form.prompt_parser} steps={form.steps} />}
          <PresetField
            value={form.preset}
            onChange={(preset) => change({ preset })}
            presets={presets}
            own={models?.base}
            fault={fields.preset}
          />
          <AdapterPicker
            chosen={form.loras ?? []}
            onChange={(loras) => change({ loras })}
            found={adapters.found}
            verdicts={adapters.verdicts}
            fault={fields.loras}
          />
          <div className={styles.grid}>
            <SizeField
              width={form.width}
              height={form.height}
              own={ownSize(preset, models?.resolution)}
              multiple={capabilities?.size_multiple ?? 8}
              onChange={change}
              fault={fields.width ?? fields.height}
            />
            <NumberBox
              label="Steps"
              value={form.steps}
              onChange={(steps) => change({ steps })}
              min={variant?.steps[0]}
              max={variant?.steps[1]}
              placeholder={usual(preset?.steps ?? variant?.default_steps)}
              fault={fields.steps}
            />
            <NumberBox
              label="Guidance"
              value={form.cfg}
              onChange={(cfg) => change({ cfg })}
              min={variant?.cfg[0]}
              max={variant?.cfg[1]}
              step={0.5}
              placeholder={usual(preset?.cfg ?? variant?.default_cfg)}
              fault={fields.cfg}
            />
            <Choice
              label="Guidance schedule"
              value={form.schedule}
              onChange={(schedule) => change({ schedule })}
              options={SCHEDULES}
              none="constant"
              fault={fields.schedule}
            />
            <Choice
              label="Scheduler"
              value={form.scheduler}
              onChange={(scheduler) => change({ scheduler })}
              options={capabilities?.schedulers ?? []}
              none={preset?.scheduler ?? "the base's own"}
              fault={fields.scheduler}
            />
            <Choice
              label="Prompt syntax"
              value={form.prompt_parser}
              onChange={(prompt_parser) => change({ prompt_parser })}
              options={capabilities?.prompt_parsers ?? []}
              none={preset?.prompt_parser ?? "the server's own"}
              fault={fields.prompt_parser}
            />
            <Choice
              label="Variant"
              value={form.variant}
              onChange={(variant) => change({ variant })}
              options={Object.keys(variants)}
              none="automatic"
              fault={fields.variant}
            />
            <NumberBox
              label="Images"
              value={form.batch}
              onChange={(batch) => change({ batch })}
              min={1}
              max={capabilities?.max_batch}
              placeholder="1"
              fault={fields.batch}
            />
            <SeedField seed={form.seed} onChange={(seed) => change({ seed })} fault={fields.seed} />
          </div>
          {form.more && (
            <p className="quiet">
              also:{" "}
              {Object.entries(form.more)
                .map(([name, value]) => `${name.replaceAll("_", " ")} ${String(value)}`)
                .join(", ")}{" "}
              <Button className="react-aria-Button small" onPress={() => change({ more: undefined })}>
                Leave out
              </Button>
            </p>
          )}
          <div className={styles.submit}>
            <Button
              type="submit"
              className="react-aria-Button primary"
              isDisabled={!form.prompt.trim() || submit.isPending}
            >
              Generate
            </Button>
            <span className="quiet">Ctrl+Enter</span>
          </div>
          {other.map((fault) => (
            <p key={fault} className="fault" role="alert">
              {fault}
            </p>
          ))}
        </form>
      </ImageReader>
      <section className={styles.jobs} aria-label="Jobs">
        {jobs.size === 0 && <p className="quiet">Images appear here, while they are generated and afterwards.</p>}
        {newestFirst(jobs)
          .slice(0, SHOWN)
          .map((job) => (
            <JobCard key={job.id} job={job} />
          ))}
      </section>
    </div>
  );
}
