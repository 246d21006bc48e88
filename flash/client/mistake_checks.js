// @ts-check
/**
 * Tells what is wrong with a use of a property, once there is reason to look: `mistakes.js` loads this script then.
 *
 * As with Dash, the ids of `validation_layout` may come and go.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {config, nameOf, resolve, component, propTypes} = flash.renderer;
    const {showOnce, callbackName, hasProperty, senders, leavingIds, firstIds} = flash.mistakes.forChecks;

    /** The ids of the validation layout; null before they are asked for. @type {Set<string> | null} */
    let validationSet = null;

    /**
     * Check whether the component of a use is in the layout, and has the property.
     * @param {Use} use
     */
    function check({callback, option, id, property}) {
        const there = resolve(id).map(component).filter(Boolean);
        if (there.length > 0) {
            // The first mistake stands for all components that the wildcard matches.
            const wrong = there.find((/** @type {Component} */ found) => !hasProperty(found, property));
            if (wrong !== undefined) {
                tellProperty(callback, option, wrong, property);
            }
            return;
        }
        const known = validationIds().has(nameOf(id));
        const removed = option === 'removed';
        if (known && (layoutSwaps() || !removed)) {
            return;
        }
        if (removed && (leavingIds.has(callback) || component(callback)?.props.status !== 'running')) {
            // The stream has ended with the component, or this was its end, which resets the components that are left.
            return;
        }
        if (removed) {
            showOnce(
                `${callbackName(callback)} updates "${nameOf(id)}.${property}", but that component was removed from ` +
                    'the layout while the stream runs. End the stream with it (cancel=), or leave the component there.'
            );
        } else {
            showOnce(
                `${userOf(callback, option)} "${nameOf(id)}.${property}", but there is no component with the id ` +
                    `"${nameOf(id)}" in the layout. Correct the id, or, if the component is to come later, set ` +
                    'validation_layout or suppress_callback_exceptions=True.'
            );
        }
    }

    /**
     * The beginning of a message: what uses the property.
     * @param {string} callback
     * @param {string} option
     */
    function userOf(callback, option) {
        return option === '' || option === 'removed'
            ? `${callbackName(callback)} updates`
            : `${option} of ${callbackName(callback)} names`;
    }

    /**
     * A component does not have a property that is used.
     * @param {string} callback
     * @param {string} option
     * @param {Component} found
     * @param {string} property
     */
    function tellProperty(callback, option, found, property) {
        showOnce(
            `${userOf(callback, option)} "${nameOf(found.props.id)}.${property}", but ${found.type} components have no ` +
                `property "${property}". They have: ${listOf(propTypes(found))}.`
        );
    }

    /**
     * The names of properties, as a message lists them.
     * @param {object} valid  the properties of a component, by name
     */
    function listOf(valid) {
        return Object.keys(valid).filter(name => name !== 'setProps').sort().join(', ');
    }

    /** The ids of the validation layout. */
    function validationIds() {
        if (validationSet === null) {
            validationSet = new Set();
            collect(config().validationLayout, validationSet);
        }
        return validationSet;
    }

    /** Whether parts of the layout come and go, as the pages of a multi-page app do. */
    function layoutSwaps() {
        return [...validationIds()].some(id => !id.startsWith('{') && !firstIds().has(id));
    }

    /**
     * Add the ids of all components in a part of a layout to a set.
     * @param {any} node  a component, or a list or dictionary that may hold some
     * @param {Set<string>} ids
     */
    function collect(node, ids) {
        if (typeof node !== 'object' || node === null) {
            return;
        }
        if (node.props?.id !== undefined && 'namespace' in node) {
            ids.add(nameOf(node.props.id));
        }
        Object.values(node).forEach(value => collect(value, ids));
    }

    /**
     * An update could not be applied.
     * @param {Id} id
     * @param {string[]} empty  the properties that were to be patched, and have no value
     * @param {any} error
     */
    function updateFailed(id, empty, error) {
        const sender = senders.get(nameOf(id));
        const who = sender === undefined ? 'An update' : callbackName(sender);
        for (const name of empty) {
            showOnce(
                `${who} sent a Patch of "${nameOf(id)}.${name}", which has no value that could be patched. ` +
                    'Give it one first, in the layout or by an update.'
            );
        }
        if (empty.length === 0) {
            console.error('Flash: an update could not be applied.', id, error);
        }
    }

    Object.assign(flash, {mistakeChecks: {check, updateFailed}});
})();
