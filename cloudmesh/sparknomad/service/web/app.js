// The page: a hash says which part of it is shown.

import { Problem, ask, events, newKey, token } from "./api.js";
import { bars, bytes, el, facts, graph, lasting, renew, state, table, when } from "./parts.js";

const main = document.getElementById("main");
const told = document.getElementById("told");
const nav = document.getElementById("nav");
const ENDED = ["succeeded", "failed", "cancelled", "lost"];
const POLL = 1500;
let shown = new AbortController();

function say(text) {
  told.textContent = text;
  setTimeout(() => { if (told.textContent === text) told.textContent = ""; }, 6000);
}

function problem(error) {
  return el("div", { class: "problem", role: "alert" }, el("p", {}, error.message),
    error.hint ? el("p", {}, error.hint) : null);
}

// A page that was left draws nothing any more, however late its answers come.
function show(signal, title, ...parts) {
  if (signal.aborted) return;
  document.title = `${title} – sparknomad`;
  main.replaceChildren(el("h1", {}, title), ...parts);
}

async function live(signal, draw) {
  while (!signal.aborted) {
    const again = await draw();
    if (again === false) return;
    await new Promise((resolve) => setTimeout(resolve, POLL));
  }
}

function get(signal, path) {
  return ask("GET", path, undefined, { signal });
}

function link(hash, text) {
  return el("a", { href: `#/${hash}` }, text);
}

// sign in

function signIn() {
  const field = el("input", { type: "password", id: "token", autocomplete: "off", required: true });
  const form = el("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      token.set(field.value.trim());
      try {
        await ask("GET", "/clusters");
        route();
      } catch (error) {
        token.clear();
        form.querySelector(".problem")?.remove();
        form.append(problem(error.status === 401 ? new Problem(401, { detail: "Nobody has this token." }) : error));
        field.focus();
      }
    },
  }, el("label", { for: "token" }, "Token",
    el("small", {}, "of `cms sparknomad service token create`; it stays in this tab")), field,
  el("button", { class: "first" }, "Sign in"));
  nav.hidden = true;
  show(shown.signal, "Sign in", form);
  field.focus();
}

// overview

async function overview(signal) {
  const place = el("div");
  show(signal, "Overview", place);
  await live(signal, async () => {
    const found = await Promise.all([get(signal, "/clusters"), get(signal, "/runs?limit=8")]);
    renew(place, found, ([clusters, runs]) => [el("h2", {}, "Clusters"), ...clusters.map(cluster),
      clusters.length ? "" : el("p", {}, "There is no cluster; `cms sparknomad cluster deploy` makes one."),
      el("h2", {}, "Last runs"), runTable(runs)]);
  });
}

function cluster(each) {
  const links = Object.entries(each.endpoints).map(([name, url]) =>
    el("li", {}, url.startsWith("http") ? el("a", { href: url, rel: "noreferrer" }, name) : `${name}: ${url}`));
  const nodes = each.components.filter((part) => part.kind === "host");
  return el("section", { "aria-label": `Cluster ${each.name}` }, el("h3", {}, each.name),
    facts({
      State: state(each.state, "cluster"), Provider: each.provider,
      Workers: `${each.workers} of ${each.workers_wanted}`, Reason: each.reason,
    }),
    nodes.length ? table(`Hosts of ${each.name}`, {
      Host: (part) => part.name, Address: (part) => part.address, Told: (part) => part.detail,
    }, nodes, "") : null,
    links.length ? el("details", { id: `pages-${each.name}` },
      el("summary", { id: `pages-of-${each.name}` }, "Pages of its servers"), el("ul", {}, links)) : null);
}

// jobs

async function jobs(signal) {
  const found = await get(signal, "/jobs");
  show(signal, "Jobs", table("Jobs", {
    Job: (job) => link(`jobs/${job.job}`, job.job),
    Parameters: (job) => Object.keys(job.parameters).join(", "),
    Description: (job) => job.description,
  }, found, "No job is defined; `cms sparknomad job define` defines one."));
}

function field(name, parameter) {
  const id = `parameter-${name}`;
  const common = { id, name, required: parameter.required };
  let input;
  if (parameter.type === "choice") {
    const options = parameter.choices.map((each) => el("option", { selected: each === parameter.default }, each));
    input = el("select", common, parameter.required ? null : el("option", { value: "" }, ""), options);
  } else if (parameter.type === "boolean") {
    input = el("select", common, ["", "true", "false"].map((each) =>
      el("option", { value: each, selected: each === String(parameter.default ?? "") }, each || "–")));
  } else {
    const types = { integer: "number", number: "number", date: "date" };
    input = el("input", {
      ...common, type: types[parameter.type] || "text", value: parameter.default ?? "",
      min: parameter.minimum, max: parameter.maximum, pattern: parameter.pattern,
      step: parameter.type === "number" ? "any" : parameter.type === "integer" ? "1" : null,
      placeholder: parameter.type === "uri" ? "PROFILE:path" : null,
    });
  }
  return el("label", { for: id }, parameter.required ? `${name} (required)` : name,
    el("small", {}, [parameter.type, parameter.description].filter(Boolean).join(" – ")), input);
}

async function sending(title, parameters, clusters, send) {
  const choice = el("select", { id: "cluster", name: "" }, el("option", { value: "" }, "default"),
    clusters.filter((each) => each.name !== "default").map((each) => el("option", {}, each.name)));
  const button = el("button", { class: "first" }, "Run");
  let key = newKey();
  const form = el("form", {
    // The same once more is the same run; another value makes another one.
    oninput: () => { key = newKey(); },
    onsubmit: async (event) => {
      event.preventDefault();
      form.querySelector(".problem")?.remove();
      const values = Object.fromEntries([...new FormData(form)].filter(([name, value]) => name && value !== ""));
      button.disabled = true;
      try {
        await send(values, choice.value || null, { key });
      } catch (error) {
        form.append(problem(error));
      }
      button.disabled = false;
    },
  }, Object.entries(parameters).map(([name, parameter]) => field(name, parameter)),
  el("label", { for: "cluster" }, "Cluster", choice), button);
  return el("section", { "aria-label": title }, el("h2", {}, title), form);
}

async function job(signal, name) {
  const [spec, clusters, runs] = await Promise.all(
    [get(signal, `/jobs/${name}`), get(signal, "/clusters"), get(signal, `/runs?job=${name}&limit=20`)]);
  show(signal, name, spec.description ? el("p", {}, spec.description) : "",
    await sending("Run it", spec.parameters, clusters, async (values, chosen, once) => {
      const run = await ask("POST", "/runs", { job: name, values, cluster: chosen }, once);
      location.hash = `#/runs/${run.run}`;
    }), el("h2", {}, "Its runs"), runTable(runs));
}

// runs

function runTable(runs) {
  return table("Runs", {
    Run: (run) => link(`runs/${run.run}`, run.run), Job: (run) => run.job,
    Cluster: (run) => run.site ? `${run.cluster} at ${run.site}` : run.cluster,
    State: (run) => state(run.state), Sent: (run) => when(run.submitted),
    Took: (run) => lasting(run.finished && run.started ? run.finished - run.started : null),
  }, runs, "There are no runs.");
}

async function runs(signal) {
  const place = el("div");
  show(signal, "Runs", place);
  await live(signal, async () =>
    renew(place, await get(signal, "/runs?limit=100"), (found) => [runTable(found)]));
}

function report(run) {
  const told = run.report;
  const phases = ["queue", "stage", "compute", "upload"].filter((name) => told[`${name}_seconds`] !== undefined);
  let from = 0;
  const items = phases.map((name) => {
    const item = { name, from, size: told[`${name}_seconds`] };
    from += item.size;
    return item;
  });
  const moved = Object.entries(told.inputs || {}).flatMap(([name, each]) => [
    { name: `${name}: from the source`, from: 0, size: each.fetched_bytes || (each.staged ? 0 : each.bytes || 0) },
    { name: `${name}: in the cluster`, from: 0, size: each.staged ? each.bytes : 0 }]);
  return el("section", { "aria-label": "Report" }, el("h2", {}, "Report"),
    bars("Where the time went", items, (item) => lasting(item.size)),
    moved.length ? el("h3", {}, "Bytes of its inputs") : null,
    moved.length ? bars("Bytes of its inputs", moved, (item) => bytes(item.size)) : null,
    facts({
      Site: told.site ? `${told.site} (${told.site_reason})` : "",
      "Crossed between sites": told.site ? bytes(told.crossed_bytes) : "",
      Read: told.input_bytes !== undefined ? bytes(told.input_bytes) : "",
      Wrote: told.output_bytes !== undefined ? bytes(told.output_bytes) : "",
      Tasks: told.tasks !== undefined ? `${told.tasks}, ${told.failed_tasks} failed` : "",
    }));
}

// A button that does something; what goes wrong stays to be read, and it can be tried again.
function acting(trouble, attributes, text, act) {
  const button = el("button", {
    type: "button", ...attributes,
    onclick: async () => {
      button.disabled = true;
      trouble.replaceChildren();
      try { await act(); } catch (error) {
        trouble.replaceChildren(problem(error));
        button.disabled = false;
      }
    },
  }, text);
  return button;
}

async function run(signal, id) {
  const head = el("div");
  const measured = el("div");
  const output = el("pre", { tabindex: "0", "aria-label": "Output", id: "output" });
  const trouble = el("div");
  const cancel = acting(trouble, { id: "cancel", hidden: true }, "Cancel the run", async () => {
    await ask("DELETE", `/runs/${id}`);
    say("The run ends.");
  });
  show(signal, id, head, cancel, trouble, el("h2", {}, "Output"), output, measured);
  const follow = (async () => {
    for await (const event of events(`/runs/${id}/logs`, signal)) {
      if (event.name === "end") return;
      if (event.name === "problem") { output.append(`${event.data.detail}\n`); continue; }
      const below = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
      output.append(el("span", { class: event.name }, event.data));
      if (below) output.scrollTop = output.scrollHeight;
    }
  })().catch((error) => { if (!signal.aborted) output.append(`${error.message}\n`); });
  let before = "";
  await live(signal, async () => {
    const now = await get(signal, `/runs/${id}`);
    const ended = ENDED.includes(now.state);
    cancel.hidden = ended;
    renew(head, now, () => [facts({
      State: state(now.state), Reason: now.reason, Job: link(`jobs/${now.job}`, now.job),
      Cluster: now.site ? `${now.cluster} at ${now.site}` : now.cluster, Sent: when(now.submitted),
      Started: when(now.started), Ended: when(now.finished), Attempts: String(now.attempts),
      "Exit code": now.exit_code === null ? "" : String(now.exit_code),
      Parameters: Object.entries(now.parameters).map(([k, v]) => `${k}=${v}`).join(", "),
    })]);
    if (before && before !== now.state) say(`Now the run is: ${now.state}.`);
    before = now.state;
    if (ended && Object.keys(now.report).length) measured.replaceChildren(report(now));
    return !ended;
  });
  await follow;
}

// pipelines

async function pipelines(signal) {
  const [defined, sent, schedules] = await Promise.all([
    get(signal, "/pipelines"), get(signal, "/pipeline-runs?limit=50"), get(signal, "/pipeline-schedules"),
  ]);
  show(signal, "Pipelines", table("Pipelines", {
    Pipeline: (each) => link(`pipelines/${each.pipeline}`, each.pipeline),
    Steps: (each) => Object.keys(each.steps).join(", "), Description: (each) => each.description,
  }, defined, "No pipeline is defined; `cms sparknomad pipeline define` defines one."),
  el("h2", {}, "Runs"), table("Runs of pipelines", {
    Run: (each) => link(`pipeline-runs/${each.run}`, each.run), Pipeline: (each) => each.pipeline,
    State: (each) => state(each.state),
    Steps: (each) => `${each.steps.filter((step) => step.state === "succeeded").length} of ${each.steps.length}`,
    Sent: (each) => when(each.submitted),
  }, sent, "There are no runs of pipelines."),
  el("h2", {}, "Schedules"), table("Schedules", {
    Pipeline: (each) => each.pipeline, When: (each) => `${each.crontab} ${each.time_zone}`,
    Cluster: (each) => each.cluster, Next: (each) => when(each.next),
    Last: (each) => each.last ? link(`pipeline-runs/${each.last}`, each.last) : "–",
  }, schedules, "Nothing is run by a schedule; `cms sparknomad pipeline schedule` makes one."));
}

async function pipeline(signal, name) {
  const [spec, clusters] = await Promise.all([get(signal, `/pipelines/${name}`), get(signal, "/clusters")]);
  const edges = Object.fromEntries(Object.entries(spec.steps).map(([key, step]) => {
    const used = JSON.stringify(step.parameters).matchAll(/\{steps\.([^.}]+)\./g);
    return [key, [...new Set([...step.after, ...[...used].map((match) => match[1])])]];
  }));
  show(signal, name, spec.description ? el("p", {}, spec.description) : "", graph(edges, {}),
    await sending("Run it", spec.parameters, clusters, async (values, chosen, once) => {
      const made = await ask("POST", "/pipeline-runs", { pipeline: name, values, cluster: chosen }, once);
      location.hash = `#/pipeline-runs/${made.run}`;
    }));
}

async function pipelineRun(signal, id) {
  const place = el("div");
  const trouble = el("div");
  const act = (method, path, text, title) => acting(trouble, { hidden: true }, title, async () => {
    await ask(method, path);
    say(text);
    route();
  });
  const cancel = act("DELETE", `/pipeline-runs/${id}`, "The pipeline ends.", "Cancel");
  const resume = act("POST", `/pipeline-runs/${id}/resume`, "It goes on.", "Run again what failed");
  show(signal, id, place, cancel, resume, trouble);
  await live(signal, async () => {
    const now = await get(signal, `/pipeline-runs/${id}`);
    const ended = ENDED.includes(now.state);
    const states = Object.fromEntries(now.steps.map((step) => [step.name, step.state]));
    const begun = Math.min(...now.steps.map((step) => step.started ?? Infinity));
    const until = now.finished ?? Date.now() / 1000;
    const items = now.steps.filter((step) => step.started).map((step) => ({
      name: step.name, from: step.started - begun, size: (step.finished ?? until) - step.started,
    }));
    cancel.hidden = ended;
    resume.hidden = !ended || now.state === "succeeded";
    renew(place, [now, items], () => [facts({
      State: state(now.state), Reason: now.reason, Cluster: now.cluster, Sent: when(now.submitted),
    }), el("h2", {}, "Steps"), graph(now.edges, states),
    table("Steps", {
      Step: (step) => step.name, State: (step) => state(step.state),
      Run: (step) => step.runs.length ? link(`runs/${step.runs.at(-1)}`, step.runs.at(-1)) : "–",
      Told: (step) => step.reason,
    }, now.steps, ""), el("h2", {}, "When"), bars("When each step ran", items, (item) => lasting(item.size))]);
    return !ended;
  });
}

// storage

function checks(steps) {
  return table("What was tried", {
    Profile: (each) => each.subject, Step: (each) => each.step,
    Result: (each) => state(each.ok ? "succeeded" : "failed"), Time: (each) => lasting(each.seconds),
    Rate: (each) => each.rate ? `${(each.rate / 1e6).toFixed(1)} MB/s` : "–",
    Told: (each) => [each.detail, each.hint].filter(Boolean).join(" "),
  }, steps, "There was nothing to be tried.");
}

async function storage(signal) {
  const [profiles, clusters] = await Promise.all([get(signal, "/storage/profiles"), get(signal, "/clusters")]);
  const staged = await Promise.all(clusters.map(async (each) => {
    try {
      return [each.name, await get(signal, `/clusters/${each.name}/staged`)];
    } catch { return [each.name, []]; }
  }));
  const trouble = el("div");
  const evict = (name) => acting(trouble, {}, `Remove what is not used from ${name}`, async () => {
    const gone = await ask("DELETE", `/clusters/${name}/staged`);
    say(`${gone.length} entries were removed.`);
    route();
  });
  const checked = el("div", { "aria-live": "polite" });
  const check = el("button", {
    type: "button",
    onclick: async (event) => {
      event.target.disabled = true;
      try {
        checked.replaceChildren(el("p", {}, "Each profile is tried: credentials, list, write, read, remove."));
        const { operation } = await ask("POST", "/storage/checks", {});
        await live(signal, async () => {
          const now = await get(signal, `/operations/${operation}`);
          if (now.problem) checked.replaceChildren(problem(new Problem(0, now.problem)));
          if (now.state === "succeeded") checked.replaceChildren(checks(now.result));
          return !["succeeded", "failed"].includes(now.state);
        });
      } catch (error) { if (!signal.aborted) checked.replaceChildren(problem(error)); }
      event.target.disabled = false;
    },
  }, "Check all profiles");
  show(signal, "Storage", el("h2", {}, "Profiles"), table("Storage profiles", {
    Name: (each) => each.name, Kind: (each) => each.kind, URL: (each) => each.url,
    Region: (each) => each.region, Site: (each) => each.site,
  }, profiles, "There are no profiles; `cms sparknomad storage profile add` adds one."),
  profiles.length ? check : "", checked, el("h2", {}, "Staged in clusters"), ...staged.flatMap(([name, entries]) => [el("h3", {}, name),
    table(`Staged in ${name}`, {
      Source: (each) => each.source, Objects: (each) => String(each.objects), Size: (each) => bytes(each.bytes),
      "Last used": (each) => when(each.last_used), Pinned: (each) => each.pin ? "yes" : "no",
    }, entries.map((each) => each.entry ? { ...each.entry, ...each } : each), "Nothing is staged."),
    entries.length ? evict(name) : ""]), trouble);
}

async function operations(signal) {
  const place = el("div");
  show(signal, "Operations", place);
  await live(signal, async () => renew(place, await get(signal, "/operations?limit=100"), (found) => [table("Operations", {
    Verb: (each) => each.verb, State: (each) => state(each.state), By: (each) => each.by,
    Asked: (each) => when(each.created), Ended: (each) => when(each.finished),
    Problem: (each) => each.problem ? each.problem.detail : "",
  }, found, "Nothing was asked for.")]));
}

// routes

const ROUTES = {
  overview, jobs, runs, pipelines, storage, operations,
  "jobs/": job, "runs/": run, "pipelines/": pipeline, "pipeline-runs/": pipelineRun,
};

async function route() {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  if (!token.get()) { signIn(); return; }
  nav.hidden = false;
  const [part, id] = (location.hash.slice(2) || "overview").split("/");
  for (const each of nav.querySelectorAll("a")) {
    const here = each.getAttribute("href") === `#/${part === "pipeline-runs" ? "pipelines" : part}`;
    if (here) each.setAttribute("aria-current", "page"); else each.removeAttribute("aria-current");
  }
  const draw = ROUTES[id ? `${part}/` : part] || overview;
  try {
    await draw(signal, id && decodeURIComponent(id));
  } catch (error) {
    if (signal.aborted) return;
    if (error.status === 401) { token.clear(); signIn(); return; }
    show(signal, "It did not work", problem(error));
  }
}

document.getElementById("leave").addEventListener("click", () => { token.clear(); route(); });
window.addEventListener("hashchange", () => { route(); main.focus(); });
route();
