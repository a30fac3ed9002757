import { h } from './dom.js'; export function create(main){main.replaceChildren(h('p',{class:'card wide'},'volatility'));return {update(){},destroy(){}};}
