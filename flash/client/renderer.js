// @ts-check
/**
 * Dash's renderer, as the other scripts see it: the layout and its components, and the callbacks that run.
 *
 * This script and `renderer_set_props.js`, which adds the setting of props, are the only ones that use what Dash and
 * its components do not document: the store, and what it holds (`paths`, `layout`, `graphs`, `callbacks`, `config`,
 * `hooks`); the actions that it takes; the request that calls a callback; how a `dcc.Graph` draws. What Flash uses of
 * Dash and React that is public (`dash_clientside.set_props`, `dash_component_api`, `flushSync`, `useEffect`,
 * `dash_ag_grid.getApi`) stands there, too: every other script reads `window.flash` and no other global of Dash's. A
 * test searches every script for these names.
 *
 * A classic script: Dash serves component files as such. It leaves one global, `window.flash`.
 */

/**
 * @typedef {string | Record<string, any>} Id  an id; `["ALL"]` as a value of an object stands for a wildcard
 * @typedef {Record<string, any>} Props
 * @typedef {{namespace: string, type: string, props: Props}} Component
 */

(function () {
    const globals = /** @type {any} */ (window);

    /** The last part of the address to which the renderer posts the calls of callbacks. */
    const CALL_ROUTE = '_dash-update-component';
    /** The number of React's fibers, from a graph's own element upwards, among which its drawing part is sought. */
    const MAX_FIBERS = 12;

    /** The store of Dash's renderer. */
    function store() {
        return globals.dash_stores[0];
    }

    /** The page's configuration, as the server has sent it. */
    function config() {
        const set = store().getState().config;
        return {
            prefix: set.requests_pathname_prefix,
            csrfHeader: set.csrf_header_name,
            csrfCookie: set.csrf_token_name,
            hasDevTools: Boolean(set.ui),
            allowsAnyId: Boolean(set.suppress_callback_exceptions),
            validationLayout: set.validation_layout
        };
    }

    /** The layout: another object after each change. */
    function layout() {
        return store().getState().layout;
    }

    /**
     * Call a function after each change of the layout or of the callbacks that are due.
     * @param {() => void} listener
     */
    function onChange(listener) {
        store().subscribe(listener);
    }

    /**
     * Show an error in the dev tools.
     * @param {string} message
     * @param {string} html
     */
    function showError(message, html) {
        store().dispatch({type: 'ON_ERROR', payload: {type: 'backEnd', error: {message, html}}});
    }

    /**
     * An id as a string, as Dash writes it.
     * @param {Id} id
     * @returns {string}
     */
    function nameOf(id) {
        return typeof id === 'string' ? id : globals.dash_component_api.stringifyId(id);
    }

    /** Whether an id has a wildcard. @param {Id} id */
    function isPattern(id) {
        return typeof id !== 'string' && Object.values(id).some(Array.isArray);
    }

    /**
     * The components of the layout that an id means: one at the most, or all that a wildcard matches.
     * @param {Id} id
     * @returns {Id[]}
     */
    function resolve(id) {
        if (typeof id === 'string' || !isPattern(id)) {
            return [id];
        }
        return withSameNames(id)
            .map(({values}) => Object.fromEntries(namesOf(id).map((name, i) => [name, values[i]])))
            .filter(found =>
                namesOf(id).every(name => Array.isArray(id[name]) || id[name] === found[name])
            );
    }

    /**
     * The components whose ids have the same names as an id that is an object.
     * @param {Record<string, any>} id
     * @returns {{values: any[], path: any[]}[]}
     */
    function withSameNames(id) {
        return store().getState().paths.objs[namesOf(id).join(',')] || [];
    }

    /** The names in an id that is an object, in Dash's order. @param {Record<string, any>} id */
    function namesOf(id) {
        return Object.keys(id).sort();
    }

    /**
     * The component with an id, if it is in the layout.
     * @param {Id} id
     * @returns {Component | undefined}
     */
    function component(id) {
        const path = pathOf(id);
        const found = path === undefined ? undefined : globals.dash_component_api.getLayout(path);
        // Dash may keep the path of a component that has gone, where there is another now, or a letter of a text.
        return found?.props !== undefined && nameOf(found.props.id ?? '') === nameOf(id) ? found : undefined;
    }

    /**
     * The path of a component in the layout. (Given an id that is an object and unknown, `getLayout` returns anything.)
     * @param {Id} id
     */
    function pathOf(id) {
        if (typeof id === 'string') {
            return store().getState().paths.strs[id];
        }
        return withSameNames(id).find(({values}) => namesOf(id).every((name, i) => values[i] === id[name]))?.path;
    }

    /** The ids of the layout's components that are strings. */
    function stringIds() {
        return Object.keys(store().getState().paths.strs);
    }

    /**
     * The properties that a component declares, by name; undefined if it declares none.
     * @param {Component} found
     * @returns {Record<string, any> | undefined}
     */
    function propTypes({namespace, type}) {
        return globals[namespace]?.[type]?.propTypes;
    }

    /**
     * Whether the present value of a property has triggered a callback that has still to be called with it.
     *
     * A callback is called with the values that properties have when its turn comes. A clientside callback that runs
     * counts, too: it may read, as a State, what its last run has returned.
     * @param {Id} id
     * @param {string} property
     */
    function hasDueCall(id, property) {
        const {requested, prioritized, blocked, executing, watched} = store().getState().callbacks;
        const own = [...executing, ...watched].filter(({callback}) => callback.clientside_function);
        const due = [...requested, ...prioritized, ...blocked, ...own];
        return due.length > 0 && due.some(({changedPropIds}) => `${nameOf(id)}.${property}` in changedPropIds);
    }

    /** Whether no callback runs, nor is to run. */
    function isIdle() {
        const {requested, prioritized, blocked, executing, watched} = store().getState().callbacks;
        return [requested, prioritized, blocked, executing, watched].every(({length}) => length === 0);
    }

    /**
     * Call a function when the request of a callback is over, with the callback and its result, before Dash reads that.
     * @param {(callback: any, result: any) => void} listener
     */
    function onResolved(listener) {
        const hooks = store().getState().hooks;
        const first = hooks.callback_resolved;
        hooks.callback_resolved = (/** @type {any} */ callback, /** @type {any} */ result) => {
            if (first) {
                first(callback, result);
            }
            listener(callback, result);
        };
    }

    /**
     * The first Output of a callback as `id.property`: Dash knows a callback by its Outputs, `a.b` or `..a.b...c.d..`,
     * with a hash behind them for a duplicate.
     * @param {any} callback
     * @returns {string}
     */
    function firstOutputOf(callback) {
        return callback.output.replaceAll('\\.', '.').replace(/^\.\./, '').split(/\.\.\.|\.\.$|@/)[0];
    }

    /** The address to which the renderer posts the calls of callbacks. */
    function callAddress() {
        return `${config().prefix}${CALL_ROUTE}`;
    }

    /** Whether an address is that of callbacks' calls. @param {string} address */
    function isCallAddress(address) {
        return address.includes(CALL_ROUTE);
    }

    /**
     * The body of the request that calls a callback with its Inputs and States as they are now; null if a component
     * that it depends on is gone.
     * @param {Start} start
     * @returns {object | null}
     */
    function callBody({output, outputs, inputs, state}) {
        const body = {output, outputs, inputs: inputs.map(valueOf), state: state.map(valueOf), changedPropIds: []};
        return [...body.inputs, ...body.state].some(entry => entry === null) ? null : body;
    }

    /**
     * The request that starts a stream of an event callback, without its values; null if there is none. Dash has an
     * Input for it that is never there: see `event_callback.py`.
     * @param {string} id  of its hidden component
     * @returns {Start | null}
     */
    function startOf(id) {
        const all = store().getState().dependenciesRequest.content ?? [];
        const found = all.find((/** @type {any} */ {inputs}) => inputs.some((/** @type {any} */ input) => input.id === `${id}-never`));
        if (found === undefined) {
            return null;
        }
        const read = (/** @type {any} */ dependency) => ({
            id: dependency.id.startsWith('{') ? JSON.parse(dependency.id) : dependency.id,
            property: dependency.property,
            optional: Boolean(dependency.allow_optional)
        });
        return {output: found.output, outputs: undefined, inputs: found.inputs.map(read), state: found.state.map(read)};
    }

    /**
     * A dependency with its value, as the renderer sends it; null if its component is gone.
     * @param {Dependency} dependency
     */
    function valueOf({id, property, optional}) {
        const found = resolve(id)
            .map(one => ({one, its: component(one)}))
            .filter(({its}) => its !== undefined)
            .map(({one, its}) => ({id: one, property, value: its?.props[property]}));
        if (isPattern(id)) {
            return found;
        }
        return found[0] ?? (optional ? {id, property, allow_optional: true, value: null} : null);
    }

    /**
     * The React component of a `dcc.Graph` that draws: `_queue` is the promise of its last drawing, `props` has the
     * data that it is to add. React notes on each element its fiber; the component's is above that of the graph.
     * @param {any} element  the graph's
     * @returns {{_queue: Promise<any>, props: {extendData: any[], prependData: any[]}} | null}
     */
    function drawingPartOf(element) {
        const key = Object.keys(element).find(name => /^__react(Fiber|InternalInstance)\$/.test(name));
        let fiber = key && element[key];
        for (let i = 0; fiber && i < MAX_FIBERS; i++) {
            if (fiber.stateNode?._queue instanceof Promise) {
                return fiber.stateNode;
            }
            fiber = fiber.return;
        }
        return null;
    }

    /**
     * How far a `dcc.Graph` is with what it was given to draw: `drawing` is the promise of its last drawing, null if it
     * has not begun; `hasMore` says whether data waits to be drawn behind that. Null if the graph is not shown.
     * @param {string} name  its id
     * @returns {{drawing: Promise<any> | null, hasMore: boolean} | null}
     */
    function graphProgress(name) {
        const element = document.getElementById(name);
        if (element === null) {
            return null;
        }
        const part = drawingPartOf(element);
        if (part === null) {
            return {drawing: null, hasMore: element.classList.contains('dash-graph--pending')};
        }
        return {drawing: part._queue, hasMore: part.props.extendData.length > 0 || part.props.prependData.length > 0};
    }

    /** The API of a grid; undefined if it is not shown. @param {string} name  its id */
    function gridApi(name) {
        try {
            return globals.dash_ag_grid.getApi(name);
        } catch {
            return undefined;
        }
    }

    /**
     * In a component: call a function once, when the component has been drawn for the first time.
     * @param {() => void} effect
     */
    function onceDrawn(effect) {
        globals.React.useEffect(effect, []);
    }

    const ofPage = {store, config, layout, onChange, isIdle, hasDueCall, onResolved, showError, onceDrawn};
    const ofComponents = {nameOf, isPattern, resolve, component, stringIds, propTypes, graphProgress, gridApi};
    const ofCalls = {callAddress, isCallAddress, startOf, callBody, firstOutputOf};
    const renderer = {...ofPage, ...ofComponents, ...ofCalls};
    globals.flash = Object.assign(globals.flash || {}, {renderer});
})();
