// @ts-check
/**
 * Sets props in Dash's renderer, and draws them.
 *
 * Props that bring components, or take some away, are set as Dash sets what a callback returns: as the result of a
 * callback that has been executed. So new components get their initial callbacks, callbacks on ALL notice what has
 * gone, and what users have typed is remembered where `persistence` says so. `set_props` does none of that.
 *
 * Like `renderer.js`, to which it adds its functions, this script uses what Dash does not document.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const globals = /** @type {any} */ (window);
    const {renderer} = globals.flash;
    const {store, nameOf, component} = renderer;

    /** A callback without Inputs and Outputs: props that are the result of no other callback are set as its own. */
    const NO_CALLBACK = {output: '', outputs: [], inputs: [], state: [], clientside_function: null};

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

    Object.assign(renderer, {patchOf, isPatch, changesLayout, set, draw});
})();
