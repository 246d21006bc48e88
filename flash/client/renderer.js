// @ts-check
/**
 * Dash's renderer, as the other scripts see it: the layout, setting props, what is drawn, and which callbacks are due.
 *
 * The one place that knows what Dash does not document: its store, and what is in there (`paths`, `layout`, `graphs`,
 * `callbacks`, `config`, `hooks`), and which actions it takes. `dash_clientside.set_props`, `dash_component_api` and React's
 * `flushSync` are public.
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
    const page = /** @type {any} */ (window);

    /** Stands for the callback whose result brings components, where it is that of none. */
    const CALLBACK = {output: '', outputs: [], inputs: [], state: [], clientside_function: null};

    /** The store of Dash's renderer. */
    function store() {
        return page.dash_stores[0];
    }

    /** Dash's configuration of the page. */
    function config() {
        return store().getState().config;
    }

    /**
     * An id as a string: what Dash makes of it, too.
     * @param {Id} id
     * @returns {string}
     */
    function nameOf(id) {
        return typeof id === 'string' ? id : page.dash_component_api.stringifyId(id);
    }

    /**
     * @param {Id} id
     */
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
        const names = Object.keys(id).sort();
        const known = store().getState().paths.objs[names.join(',')] || [];
        return known
            .map((/** @type {{values: any[]}} */ entry) =>
                Object.fromEntries(names.map((name, i) => [name, entry.values[i]]))
            )
            .filter((/** @type {Record<string, any>} */ found) =>
                names.every(name => Array.isArray(id[name]) || id[name] === found[name])
            );
    }

    /**
     * The component with an id, if it is in the layout.
     * @param {Id} id
     * @returns {Component | undefined}
     */
    function component(id) {
        const path = pathOf(id);
        const found = path === undefined ? undefined : page.dash_component_api.getLayout(path);
        // Dash may keep the path of a component that has gone, where there is another now, or a letter of a text.
        return found?.props !== undefined && nameOf(found.props.id ?? '') === nameOf(id) ? found : undefined;
    }

    /**
     * Where in the layout a component is. (Asked for an object that it does not know, getLayout returns anything.)
     * @param {Id} id
     */
    function pathOf(id) {
        const {strs, objs} = store().getState().paths;
        if (typeof id === 'string') {
            return strs[id];
        }
        const names = Object.keys(id).sort();
        const alike = objs[names.join(',')] || [];
        return alike.find((/** @type {{values: any[]}} */ {values}) =>
            names.every((name, i) => values[i] === id[name])
        )?.path;
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
        const known = page.__dashprivate_childrenProps?.[namespace]?.[type] ?? [];
        return name === 'children' || known.some((/** @type {string} */ path) => path.split(/[.[{]/, 1)[0] === name);
    }

    /**
     * @param {any} value
     * @returns {boolean}
     */
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
            output === null ? page.dash_clientside.set_props(id, props) : setWithoutCalling(output, id, props);
            return;
        }
        const whole = Object.values(props).some(isPatch) ? patched(id, props) : props;
        const executed = {
            // Dash does not call a callback again for what has come of it.
            callback: (output !== null && callbackOf(output)) || CALLBACK,
            changedPropIds: {},
            getInputs: () => [],
            getOutputs: () => [],
            getState: () => [],
            executionResult: {data: {[nameOf(id)]: whole}, payload: null}
        };
        store().dispatch({type: 'Callbacks.AddExecuted', payload: [executed]});
    }

    /**
     * Set props, and leave one callback out of those that are called for it: a property may be both Input and Output
     * of a callback, and its own result does not call it.
     * @param {string} output  the Outputs of that callback
     * @param {Id} id
     * @param {Props} props
     */
    function setWithoutCalling(output, id, props) {
        const stores = page.dash_stores;
        const {getState, dispatch: pass} = store();
        /** @type {(action: any) => any} */
        const dispatch = action => {
            if (typeof action === 'function') {
                return action(dispatch, getState);
            }
            if (action.type === 'Callbacks.AddRequested') {
                const payload = action.payload.filter((/** @type {any} */ due) => due.callback.output !== output);
                return payload.length > 0 ? pass({...action, payload}) : action;
            }
            return pass(action);
        };
        page.dash_stores = [{dispatch, getState}];
        try {
            page.dash_clientside.set_props(id, props);
        } finally {
            page.dash_stores = stores;
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
     * What props come to when their patches have been applied. Only `set_props` can apply them: it is let do so on a
     * store that takes nothing in.
     * @param {Id} id
     * @param {Props} props
     * @returns {Props}
     */
    function patched(id, props) {
        const stores = page.dash_stores;
        const {getState} = store();
        let result = props;
        /** @type {(action: any) => any} */
        const dispatch = action => {
            if (typeof action === 'function') {
                return action(dispatch, getState);
            }
            if (action.type === 'ON_PROP_CHANGE') {
                result = action.payload.props;
            }
            return action;
        };
        page.dash_stores = [{dispatch, getState}];
        try {
            page.dash_clientside.set_props(id, props);
        } finally {
            page.dash_stores = stores;
        }
        return result;
    }

    /**
     * Set what `change` sets, and have it drawn: when this returns, components have seen it, and their effects.
     * @param {() => void} change
     */
    function draw(change) {
        const {flushSync} = page.ReactDOM;
        flushSync ? flushSync(change) : change();
    }

    /**
     * Whether a callback has still to be given the value that a property has.
     *
     * Callbacks are called with what they find when it is their turn. One of the browser's own may also read, as a
     * State, what its last run has returned.
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
     * Have a function called with each callback whose request is over, and with its result, before Dash reads that.
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

    const renderer = {
        store,
        config,
        nameOf,
        isPattern,
        resolve,
        component,
        isPatch,
        changesLayout,
        set,
        draw,
        isAwaited,
        isIdle,
        onResolved
    };
    page.flash = Object.assign(page.flash || {}, {renderer});
})();
