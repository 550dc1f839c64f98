/* What the page uses of Preact (preact.js beside this file). */
export function h(type: any, props: any, ...children: any[]): any;
export function render(children: any, parent: any): void;
export class Component {
  constructor(props?: any);
  props: any;
  state: any;
  setState(changes: any, then?: () => void): void;
  render(props: any, state: any): any;
}
