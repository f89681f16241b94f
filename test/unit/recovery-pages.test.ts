import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { missingFrom, recoveryPages, section } from "../support/recovery-pages";

const pages = readdirSync(recoveryPages).filter((file) => file !== "README.md");
const read = (page: string): string => readFileSync(join(recoveryPages, page), "utf8");

describe("The pages in docs/recovery", () => {
  it("are all in the table of symptoms", () => {
    const linked = [...read("README.md").matchAll(/\]\(([a-z-]+\.md)(#[a-z-]+)?\)/g)].map(([, page]) => page);
    assert.deepEqual([...new Set(linked)].sort(), pages);
  });

  it("link to no page or heading that is not there", () => {
    const anchor = (heading: string): string =>
      heading
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-");
    const broken = ["README.md", ...pages].flatMap((page) =>
      [...read(page).matchAll(/\]\(([a-z-]+\.md)?(?:#([a-z0-9-]+))?\)/g)].flatMap(([link, target = page, fragment]) => {
        if (!["README.md", ...pages].includes(target)) return [`${page}: ${link}`];
        const anchors = [...read(target).matchAll(/^## (.+)$/gm)].map(([, heading = ""]) => anchor(heading));
        return fragment === undefined || anchors.includes(fragment) ? [] : [`${page}: ${link}`];
      }),
    );
    assert.deepEqual(broken, []);
  });

  it("each say what is seen, what to do, what is lost, and why", () => {
    for (const page of pages) {
      const text = read(page);
      for (const part of ["Symptom", "What to do", "What is lost", "Why"]) {
        assert.match(text, new RegExp(`\\*\\*${part}\\*\\*|^## ${part}$`, "m"), `${page}: ${part}`);
      }
    }
  });

  it("name the stack in every command of Pulumi's", () => {
    const commands = ["README.md", ...pages].flatMap((page) =>
      section(page).commands.flatMap((block) => block.split("\n")),
    );
    const pulumi = commands.filter((line) => /(^|\| )pulumi /.test(line.trim()));
    assert.ok(pulumi.length > 20);
    assert.deepEqual(
      pulumi.filter((line) => !line.includes("--stack production") && !line.includes("stack init production")),
      [],
    );
  });

  it("never unlock before they have said how to see that nobody is at work", () => {
    for (const page of pages) {
      const commands = section(page).commands.join("\n");
      const cancel = commands.indexOf("pulumi cancel");
      if (cancel >= 0) assert.ok(commands.slice(0, cancel).includes("ps -p <pid>"), page);
    }
  });

  it("are read as they are meant: blocks by language, placeholders that match anything", () => {
    const { symptom, commands } = section("engine-killed.md", "1. Make sure that nobody is at work, and unlock");
    assert.equal(symptom.length, 2);
    assert.equal(commands[1], "pulumi cancel --stack production");
    const printed =
      "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the lock file with `pulumi cancel`.\n" +
      "  file:///s/1.json?no_tmp_dir=true: created by root@vm (pid 31707) at 2026-11-21T14:20:47Z\n";
    assert.deepEqual(missingFrom(printed, { symptom, commands }), []);
    assert.deepEqual(missingFrom(printed.replace("(pid ", "(process "), { symptom, commands }), [symptom[1]]);
  });
});
