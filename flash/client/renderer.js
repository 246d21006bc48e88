// @ts-check
/**
 * Dash's renderer, as the other scripts see it: the layout, setting props, drawing them, and calling callbacks.
 *
 * The one script that uses what Dash and its components do not document: the store, and what it holds (`paths`,
 * `layout`, `graphs`, `callbacks`, `config`, `hooks`); the actions that it takes; the request that calls a callback;
 * how a `dcc.Graph` draws. What it uses of Dash and React that is public (`dash_clientside.set_props`,
 * `dash_component_api`, `flushSync`, `useEffect`, `dash_ag_grid.getApi`) stands here, too: every other script reads
 * `window.flash` and no other global of Dash's. A test searches every script for these names.
 *
 * Props that bring components, or take some away, are set as Dash sets what a callback returns: as the result of a
 * callback that has been executed. So new components get their initial callbacks, callbacks on ALL notice what has
 * gone, and what users have typed is remembered where `persistence` says so. `set_props` does none of that.
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
    /** A callback without Inputs and Outputs: props that are the result of no other callback are set as its own. */
    const NO_CALLBACK = {output: '', outputs: [], inputs: [], state: [], clientside_function: null};

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
     * A `Patch` that sets one item of a dictionary.
     * @param {string} key
     * @param {any} value
     */
    function patchOf(key, value) {
        const operation = {operation: 'Assign', location: [key], params: {value}};
        return {__dash_patch_update: '__dash_patch_update', operations: [operation]};
    }

    /**
     * Whether a value changes what is there instead of replacing it.
     * @param {any} value
     */
    function isPatch(value) {
        return typeof value === 'object' && value !== null && '__dash_patch_update' in value;
    }

    /**
     * Whether props bring components into the layout, or take some away.
     * @param {Id} id
     * @param {Props} props
     */
    function changesLayout(id, props) {
        const found = component(id);
        return (
            found !== undefined &&
            Object.keys(props).some(
                name =>
                    mayHold(found, name) && (holdsComponents(props[name]) || holdsComponents(found.props[name]))
            )
        );
    }

    /**
     * Whether a property may have components in it.
     * @param {Component} found
     * @param {string} name
     */
    function mayHold({namespace, type}, name) {
        const known = globals.__dashprivate_childrenProps?.[namespace]?.[type] ?? [];
        return name === 'children' || known.some((/** @type {string} */ path) => path.split(/[.[{]/, 1)[0] === name);
    }

    /** Whether a value is a component or has some in it. @param {any} value @returns {boolean} */
    function holdsComponents(value) {
        if (typeof value !== 'object' || value === null) {
            return false;
        }
        if ('namespace' in value && 'type' in value && 'props' in value) {
            return true;
        }
        return Object.values(value).some(holdsComponents);
    }

    /**
     * Set props of a component that is in the layout.
     * @param {Id} id
     * @param {Props} props
     * @param {string | null} output  the Outputs of the callback whose result this is, which it is not to call again
     */
    function set(id, props, output = null) {
        if (!changesLayout(id, props)) {
            output === null ? globals.dash_clientside.set_props(id, props) : setWithoutCalling(output, id, props);
            return;
        }
        const whole = Object.values(props).some(isPatch) ? patched(id, props) : props;
        const executed = {
            // Dash does not call a callback again because of its own result.
            callback: (output !== null && callbackOf(output)) || NO_CALLBACK,
            changedPropIds: {},
            getInputs: () => [],
            getOutputs: () => [],
            getState: () => [],
            executionResult: {data: {[nameOf(id)]: whole}, payload: null}
        };
        store().dispatch({type: 'Callbacks.AddExecuted', payload: [executed]});
    }

    /**
     * Set props without calling one callback, whose result they are. A property may be both Input and Output of a
     * callback; Dash does not call a callback because of its own result.
     * @param {string} output  the Outputs of that callback
     * @param {Id} id
     * @param {Props} props
     */
    function setWithoutCalling(output, id, props) {
        setThrough(id, props, (action, pass) => {
            if (action.type !== 'Callbacks.AddRequested') {
                return pass(action);
            }
            const payload = action.payload.filter((/** @type {any} */ due) => due.callback.output !== output);
            return payload.length > 0 ? pass({...action, payload}) : action;
        });
    }

    /**
     * The values of props once their patches have been applied. Only Dash's `set_props` applies patches. So it is
     * called with a store that notes the values and changes nothing.
     * @param {Id} id
     * @param {Props} props
     * @returns {Props}
     */
    function patched(id, props) {
        let result = props;
        setThrough(id, props, action => {
            if (action.type === 'ON_PROP_CHANGE') {
                result = action.payload.props;
            }
            return action;
        });
        return result;
    }

    /**
     * Set props while another store replaces Dash's. It calls a function with each action.
     * @param {Id} id
     * @param {Props} props
     * @param {(action: any, pass: (action: any) => any) => any} take  `pass` dispatches an action to Dash's store
     */
    function setThrough(id, props, take) {
        const stores = globals.dash_stores;
        const {getState, dispatch: pass} = store();
        /** @type {(action: any) => any} */
        const dispatch = action => (typeof action === 'function' ? action(dispatch, getState) : take(action, pass));
        globals.dash_stores = [{dispatch, getState}];
        try {
            globals.dash_clientside.set_props(id, props);
        } finally {
            globals.dash_stores = stores;
        }
    }

    /**
     * The callback with these Outputs, as Dash knows it by its Inputs.
     * @param {string} output
     */
    function callbackOf(output) {
        const {inputMap, inputPatterns} = store().getState().graphs;
        const known = [inputMap, inputPatterns].flatMap(Object.values).flatMap(Object.values).flat();
        return known.flatMap(entry => entry.callbacks ?? entry).find(callback => callback.output === output);
    }

    /**
     * Call `change`, which sets props, and draw at once: on return, components have rendered and run their effects.
     * @param {() => void} change
     */
    function draw(change) {
        const {flushSync} = globals.ReactDOM;
        flushSync ? flushSync(change) : change();
    }

    /**
     * Whether a callback that the present value of a property has triggered has still to be called with it.
     *
     * A callback is called with the values that properties have when its turn comes. A clientside callback that runs
     * counts, too: it may read, as a State, what its last run has returned.
     * @param {Id} id
     * @param {string} property
     */
    function isAwaited(id, property) {
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

    const ofPage = {config, layout, onChange, isIdle, isAwaited, onResolved, showError, onceDrawn};
    const ofComponents = {nameOf, isPattern, resolve, component, stringIds, propTypes, graphProgress, gridApi};
    const ofUpdates = {patchOf, isPatch, changesLayout, set, draw};
    const ofCalls = {callAddress, isCallAddress, callBody, firstOutputOf};
    const renderer = {...ofPage, ...ofComponents, ...ofUpdates, ...ofCalls};
    globals.flash = Object.assign(globals.flash || {}, {renderer});
})();
