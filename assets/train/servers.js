/* A finished run's model on other servers: what they would stumble over in its folder, and the commands that run it. */
import { button, h, labelled, menu, t } from "../lib/panel.js";

const NAMES = { vllm: "vLLM", sglang: "SGLang", tgi: "TGI", endpoint: "Inference Endpoint", mlx: "MLX", onnx: "ONNX" };

/** One thing in a sentence: for which servers it holds, and whether the folder that is given has it mended. */
export const said = ({ code, level, servers, mended, value }) => {
  const all = servers.length > 3;
  const names = all ? "" : `${servers.map((server) => NAMES[server]).join(", ")}: `;
  return { kind: mended ? "mended" : level, text: names + t(`deploy_${code}`, { value }) };
};

/** @param {{findings: any[], commands: Record<string, string>}} known @param {string} how
   @param {{choose: (how: string) => void, download: () => void}} act */
export const onServers = (known, how, act) => {
  const servers = Object.keys(known.commands);
  const chosen = servers.includes(how) ? how : servers[0];
  const told = known.findings.map(said);
  return [
    h("p", { class: "soft print" }, t("deploy_about")),
    button(t("deploy_download"), act.download, "", { "data-key": "folder" }),
    told.length
      ? h(
          "ul",
          { class: "findings" },
          told.map(({ kind, text }, i) => h("li", { key: i }, h("b", {}, t(`deploy_is_${kind}`)), " ", text)),
        )
      : h("p", { class: "print" }, t("deploy_clean")),
    labelled(
      t("deploy_command"),
      menu({
        options: servers.map((server) => [server, NAMES[server]]),
        value: chosen,
        "data-key": "server",
        onchange: act.choose,
      }),
    ),
    h("pre", { class: "command", tabindex: 0 }, known.commands[chosen]),
    chosen === "onnx" ? h("p", { class: "soft print" }, t("deploy_onnx")) : null,
  ];
};
